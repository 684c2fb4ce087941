"""Alerts and dashboard name metrics that there are; the page about metrics is the code's own."""

import json
import re

import pytest
import yaml
from netlab.topology import REPOSITORY

from l2announce.agent.metrics import Metrics, Sources
from l2announce.agent.metrics_reference import LABELS
from l2announce.agent.operator_metrics import OperatorMetrics
from l2announce.control.controller import Controller
from l2announce.ipam.allocator import Allocator
from l2announce.model.timing import Timing

MONITORING = REPOSITORY / "deploy" / "monitoring"
NAME = re.compile(r"\bl2announce_[a-z0-9_]+")


@pytest.fixture(scope="module")
def served() -> set[str]:
    """The names of the samples of an agent that has not done anything yet, and of what counts with labels."""
    sources = Sources(Controller("n1", Timing(), 0.0), lambda: 0.0, lambda: "", lambda: 0.0, lambda: 0, lambda: 0, lambda: 0)
    families = [*Metrics(sources).registry.collect(), *OperatorMetrics(Allocator).registry.collect()]
    names = {sample.name for family in families for sample in family.samples}
    return names | {f"{family.name}_total" for family in families if family.type == "counter"} | {family.name for family in families}


def alerts() -> list[dict[str, str]]:
    found: list[dict[str, str]] = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
    return found


def test_alerts_ask_for_what_is_served(served: set[str]) -> None:
    for alert in alerts():
        names = set(NAME.findall(alert["expr"]))
        assert names
        assert names <= served, alert["alert"]


def test_each_alert_is_fired_by_a_test() -> None:
    tests = (MONITORING / "alerts_test.yaml").read_text()
    for alert in alerts():
        assert f'alertname="{alert["alert"]}"' in tests, "fires"
        assert f"alertname: {alert['alert']}" in tests, "does not fire"


def test_the_dashboard_shows_what_is_served(served: set[str]) -> None:
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        for target in panel["targets"]:
            names = set(NAME.findall(target["expr"]))
            assert names, panel["title"]
            assert names <= served, panel["title"]


def test_the_labels_that_the_page_tells_are_served(served: set[str]) -> None:
    assert LABELS.keys() <= served
