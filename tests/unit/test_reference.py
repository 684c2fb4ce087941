"""The pages of docs/reference say what the code says, and their lists are whole."""

import re
from pathlib import Path

import pytest

from l2announce.cli.reference import CONDITIONS, EVENTS, PAGES
from l2announce.control.conditions import policy_conditions
from l2announce.model.events import EventReason, ServiceEvent
from l2announce.model.objects import AnnouncementPolicy, ClusterState, LabelSelector, NamespacedName, Requirement

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
BAD = LabelSelector(match_expressions=(Requirement("a", "In", ()),))
WEB = NamespacedName("default", "web")


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_code_makes(name: str) -> None:
    assert (REFERENCE / name).read_text() == PAGES[name](), "run make reference"


def test_there_is_no_other_page() -> None:
    assert {page.name for page in REFERENCE.iterdir()} == set(PAGES)


def test_the_conditions_are_those_that_policies_get() -> None:
    good, bad = AnnouncementPolicy("l2"), AnnouncementPolicy("l2", node_selector=BAD, service_selector=BAD, interfaces=("(",))
    seen = set()
    for policy in (good, bad):
        for chosen, announced in ({}, ()), ({"l2": [WEB]}, (WEB,)), ({"l2": [WEB]}, ()):
            found = policy_conditions(ClusterState(policies={"l2": policy}), chosen, announced)["l2"]
            seen |= {(each.type, each.status, each.reason) for each in found}
    assert set(CONDITIONS) == seen


def test_the_events_are_those_that_there_are() -> None:
    assert set(EVENTS) == set(EventReason)
    for reason, (kind, _) in EVENTS.items():
        assert ServiceEvent(WEB, "", reason, "").is_warning == (kind == "Warning")


def test_the_pages_tell_every_flag_of_the_agent() -> None:
    told = set(re.findall(r"`(--[a-z-]+)`", PAGES["flags.md"]()))
    assert {"--node-name", "--lease-mode", "--metrics-address", "--watch"} <= told
