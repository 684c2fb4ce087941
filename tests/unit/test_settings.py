"""Settings of an agent: where each comes from, and what a bad one is told."""

import itertools
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from l2announce.agent import responder_child
from l2announce.agent.responder_child import ResponderChild
from l2announce.agent.settings import Settings, default_run_directory, parse_duration, parse_metrics_address, prepare_sockets
from l2announce.cli import agent
from l2announce.cli.main import main
from l2announce.errors import ConfigurationError
from l2announce.model.timing import Timing

PLACES = ("flag", "variable", "file")
"""From the strongest to the weakest."""

VALUES: dict[str, tuple[str, str, str]] = {
    "node-name": ("n1", "n2", "n3"),
    "manifests": ("a", "b", "c"),
    "devices": ("eth0", "eth1", "eth2"),
    "lease-duration": ("20s", "30s", "40s"),
    "lease-renew-deadline": ("6s", "7s", "8s"),
    "lease-retry-period": ("1s", "1500ms", "3s"),
    "announce-refresh": ("1m", "90s", "0"),
    "probe-wait": ("1s", "300ms", "0"),
    "answer-limit": ("100", "2000", "0"),
    "node-grace": ("1s", "20s", "0"),
    "on-cordon": ("withdraw", "keep", "withdraw"),
    "on-exclude-label": ("withdraw", "keep", "withdraw"),
    "on-no-endpoints": ("keep", "withdraw", "keep"),
    "subnet-match": ("require", "prefer", "off"),
    "rebalance": ("1m", "90s", "0"),
    "lease-namespace": ("one", "two", "three"),
    "lease-name-style": ("dash", "dot", "dash"),
    "state-socket": ("1.sock", "2.sock", "3.sock"),
    "metrics-address": ("0.0.0.0:1", "[::1]:2", "none"),
    "log-format": ("json", "text", "json"),
    "log-level": ("debug", "warning", "error"),
}
"""For each setting, a value from the flag, from the variable and from the file."""


def always(value: Any) -> Callable[..., Any]:
    """A function that returns ``value`` whatever it is given."""

    def answer(*_: object, **__: object) -> Any:
        return value

    return answer


def _is_not_run(path: Path, _: int) -> bool:
    return str(path) != "/run"


class Program:
    """The program, run up to the point where the agent would start."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.started: list[Settings] = []
        self._patch = patch
        for key in VALUES:
            patch.delenv(variable(key), raising=False)
        for key in ("config", "kubeconfig", "context"):
            patch.delenv(variable(key), raising=False)
        patch.setenv("XDG_RUNTIME_DIR", str(directory / "run"))
        patch.setattr("os.access", _is_not_run)
        patch.setattr(agent, "set_up_logging", always(None))
        patch.setattr(agent, "run_agent", self._start)
        patch.chdir(directory)
        for name in VALUES["manifests"]:
            (directory / name).mkdir()

    def _start(self, asked: Settings) -> None:
        self.started.append(asked)

    def run(self, *flags: str) -> int:
        """Run ``l2announce agent FLAGS``; the exit code."""
        self._patch.setattr("sys.argv", ["l2announce", "agent", *flags])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0)

    def settings(self, *flags: str) -> Settings:
        """The settings with which the agent would have started."""
        assert self.run(*flags) == 0
        return self.started.pop()

    def config(self, content: object) -> str:
        """The path of a configuration file."""
        path = self.directory / "config.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return str(path)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A program without variables, in a directory of its own."""
    return Program(tmp_path, monkeypatch)


def variable(key: str) -> str:
    """The environment variable of a flag."""
    return "L2ANNOUNCE_" + key.upper().replace("-", "_")


def needed() -> list[str]:
    """The flags without which nothing starts."""
    return ["--node-name", "n1", "--manifests", "a"]


def of(asked: Settings, key: str) -> object:
    """One setting as Settings hold it."""
    known: dict[str, object] = {
        "lease-duration": asked.timing.lease_duration,
        "lease-renew-deadline": asked.timing.renew_deadline,
        "lease-retry-period": asked.timing.retry_period,
        "announce-refresh": asked.timing.announce_refresh,
        "probe-wait": asked.timing.probe_wait,
        "answer-limit": asked.timing.answer_limit,
        "node-grace": asked.eligibility.node_grace,
        "on-cordon": asked.eligibility.on_cordon,
        "on-exclude-label": asked.eligibility.on_exclude_label,
        "on-no-endpoints": asked.eligibility.on_no_endpoints,
        "subnet-match": asked.eligibility.subnet_match,
        "rebalance": asked.timing.rebalance,
    }
    return known[key] if key in known else getattr(asked, key.replace("-", "_"))


def held(key: str, text: str) -> object:
    """What Settings hold for a text from any place."""
    if key in {"lease-duration", "lease-renew-deadline", "lease-retry-period", "announce-refresh", "probe-wait", "node-grace", "rebalance"}:
        return parse_duration(text, key)
    if key == "answer-limit":
        return int(text)
    if key == "metrics-address":
        return parse_metrics_address(text)
    if key in {"manifests", "state-socket"}:
        return Path(text)
    return (text,) if key == "devices" else text


@pytest.mark.parametrize("key", VALUES)
@pytest.mark.parametrize("places", [places for size in (1, 2, 3) for places in itertools.combinations(PLACES, size)], ids="+".join)
def test_flag_wins_over_variable_over_file(program: Program, monkeypatch: pytest.MonkeyPatch, key: str, places: tuple[str, ...]) -> None:
    flags = needed()
    if key in {"node-name", "manifests"}:
        at = flags.index(f"--{key}")
        del flags[at : at + 2]
    given = dict(zip(PLACES, VALUES[key], strict=True))
    if "flag" in places:
        flags += [f"--{key}", given["flag"]]
    if "variable" in places:
        monkeypatch.setenv(variable(key), given["variable"])
    if "file" in places:
        flags += ["--config", program.config({key: given["file"]})]
    assert of(program.settings(*flags), key) == held(key, given[places[0]])


def test_defaults_are_those_of_the_documentation(program: Program) -> None:
    asked = program.settings(*needed())
    assert asked == Settings("n1", Timing(15, 5, 2), Path("a"), state_socket=program.directory / "run/l2announce/agent.sock")
    assert (asked.lease_namespace, asked.lease_name_style, asked.devices) == ("kube-system", "dot", ())
    assert (asked.log_format, asked.log_level) == ("text", "info")
    assert asked.responder_socket == program.directory / "run/l2announce/agent.responder.sock"


def test_the_file_itself_may_come_from_a_variable(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L2ANNOUNCE_CONFIG", program.config({"node_name": "n3", "manifests": "c"}))
    asked = program.settings()
    assert (asked.node_name, asked.manifests) == ("n3", Path("c"))


@pytest.mark.parametrize(("content", "expected"), [("eth0", ("eth0",)), (["eth0", 7], ("eth0", "7")), ([], ())])
def test_the_file_takes_one_device_or_a_list(program: Program, content: object, expected: tuple[str, ...]) -> None:
    assert program.settings(*needed(), "--config", program.config({"devices": content})).devices == expected


def test_more_devices_repeat_the_flag_or_are_separated_by_blanks(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    assert program.settings(*needed(), "--devices", "^eth0$", "--devices", "^bond[0-9]+$").devices == ("^eth0$", "^bond[0-9]+$")
    monkeypatch.setenv("L2ANNOUNCE_DEVICES", "^eth0$ ^eth1$")
    assert program.settings(*needed()).devices == ("^eth0$", "^eth1$")


def test_off_is_a_word_in_the_file(program: Program) -> None:
    """To YAML it is a boolean."""
    assert program.settings(*needed(), "--config", program.config("subnet-match: off")).eligibility.subnet_match == "off"
    assert program.run(*needed(), "--config", program.config("subnet-match: on")) == 2


def test_an_empty_file_changes_nothing_but_is_refused_by_name(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(*needed(), "--config", program.config("")) == 2
    assert "must be a mapping" in capsys.readouterr().err


BAD: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    "node-grace": [("10m1s", ("601s", "from 0s", "600s")), ("-1s", ("'-1s'", "not a duration"))],
    "lease-duration": [
        ("15", ("'15'", "not a duration", "such as 15s")),
        ("", ("''", "not a duration")),
        ("-15s", ("'-15s'", "not a duration")),
        ("1.5s", ("1.5s", "whole number of seconds")),
        ("0s", ("0s", "at least 1s")),
        ("900ms", ("0.9s", "at least 1s")),
        ("infs", ("'infs'", "not a duration")),
        ("1e400h", ("'1e400h'", "not a duration")),
        ("99999999999h", ("'99999999999h'", "too long, at most 1h")),
        ("9" * 400 + "h", ("too long, at most 1h",)),
        ("3601s", ("'3601s'", "too long, at most 1h")),
    ],
    "lease-renew-deadline": [
        ("5 s", ("'5 s'", "not a duration")),
        ("0s", ("0s", "above 0s")),
        ("2h", ("'2h'", "too long, at most 1h")),
        ("15s", ("15s", "below 0.9 of the lease duration 15s", "raise --lease-duration or lower --lease-renew-deadline")),
        ("13.5s", ("13.5s", "below 0.9 of the lease duration 15s")),
    ],
    "lease-retry-period": [
        ("soon", ("'soon'", "not a duration")),
        ("0s", ("0s", "above 0s")),
        ("4.2s", ("4.2s", "1.2 times it", "renew deadline 5s", "lower --lease-retry-period")),
    ],
    "rebalance": [("500ms", ("--rebalance 0.5s", "at least 1s", "0s for no rebalancing")), ("x", ("--rebalance 'x'", "not a duration"))],
    "answer-limit": [
        ("99", ("--answer-limit 99", "from 100", "0 for no limit")),
        ("-1", ("'-1'", "not a number")),
        ("many", ("'many'", "not a number")),
    ],
    "probe-wait": [("11s", ("--probe-wait 11s", "from 0s", "to 10s"))],
    "announce-refresh": [
        ("never", ("'never'", "not a duration")),
        ("9s", ("--announce-refresh 9s", "at least 10s, or 0s for no refresh")),
    ],
    "node-name": [("N1", ("'N1'", "lower case")), ("", ("''",)), ("n" * 254, ("not a Kubernetes node name",)), ("-a", ("'-a'",))],
    "lease-namespace": [("kube.system", ("'kube.system'", "lower case")), ("n" * 64, ("not a namespace name",))],
    "manifests": [("nowhere", ("nowhere", "no such directory", "create it"))],
    "devices": [("(", ("'('", "RE2", "missing )")), ("(?=x)", ("'(?=x)'", "RE2"))],
    "lease-name-style": [("slash", ("'slash'", "'dot', 'dash'"))],
    "metrics-address": [
        (text, (f"--metrics-address {text!r}", "not an address and a port", "127.0.0.1:9967", "or none"))
        for text in (
            "9967",
            "localhost:9967",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:0",
            "127.0.0.1:65536",
            "::1:9967",
            "[127.0.0.1]:1",
            "[::1]",
        )
    ],
    "log-format": [("xml", ("'xml'", "'text', 'json'"))],
    "log-level": [("loud", ("'loud'", "'debug', 'info', 'warning', 'error'"))],
    "state-socket": [
        ("x" * 120, ("too long", "107", "choose a shorter path")),
        ("file", ("file", "exists and is not a socket", "choose another path")),
        ("file/agent.sock", ("file/agent.sock", "cannot make its directory", "choose another path")),
        ("/proc/nobody/agent.sock", ("/proc/nobody/agent.sock", "cannot make its directory", "choose another path")),
    ],
}


@pytest.mark.parametrize(
    ("key", "value", "words", "place"),
    [
        (key, *case, place)
        for key, cases in BAD.items()
        for case in cases
        for place in PLACES
        if case[0] or place != "variable"  # an empty variable is no value
    ],
)
def test_a_bad_value_gets_one_line_and_exit_code_2(
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    key: str,
    value: str,
    words: tuple[str, ...],
    place: str,
) -> None:
    """Wherever the value comes from; the line names the flag, the value, and what to do."""
    (program.directory / "file").touch()
    flags = needed()
    if key in {"node-name", "manifests"}:
        at = flags.index(f"--{key}")
        del flags[at : at + 2]
    if place == "flag":
        flags += [f"--{key}", value]
    elif place == "variable":
        monkeypatch.setenv(variable(key), value)
    else:
        flags += ["--config", program.config({key: value})]
    assert program.run(*flags) == 2
    printed = capsys.readouterr()
    assert not printed.out
    (line,) = printed.err.splitlines()
    assert line.startswith("l2announce: ")
    for word in (f"--{key}", *words):
        assert word in line
    assert not program.started


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("nope: 1", ("unknown key 'nope'", "keys are announce-refresh, answer-limit, context, devices")),
        ("config: other.yaml", ("unknown key 'config'",)),
        ("3: 1", ("unknown key 3",)),
        ("{", ("not YAML", "correct the file")),
        ("- a", ("must be a mapping of flag names",)),
        ("lease-duration:", ("lease-duration: None cannot be its value",)),
        ("log-level: {a: 1}", ("log-level: {'a': 1} cannot be its value",)),
        ("log-level: [info]", ("log-level: ['info'] cannot be its value",)),
        ("lease-name-style: yes", ("lease-name-style: True cannot be its value", "--lease-name-style")),
        ("devices: [[eth0]]", ("devices: ['eth0'] cannot be its value",)),
    ],
)
def test_a_bad_file_gets_one_line_and_exit_code_2(
    program: Program, capsys: pytest.CaptureFixture[str], content: str, words: tuple[str, ...]
) -> None:
    path = program.config(content)
    assert program.run(*needed(), "--config", path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    for word in (f"--config {path}", *words):
        assert word in line


@pytest.mark.parametrize(("octets", "word"), [(None, "No such file"), (b"\xff\xfe\x00", "not YAML")])
def test_a_file_that_cannot_be_read_gets_one_line(
    program: Program, capsys: pytest.CaptureFixture[str], octets: bytes | None, word: str
) -> None:
    if octets is not None:
        (program.directory / "odd.yaml").write_bytes(octets)
    assert program.run(*needed(), "--config", "odd.yaml") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--config odd.yaml" in line
    assert word in line


def test_a_missing_flag_is_named_with_its_variable(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run("--manifests", "a") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'--node-name'" in line
    assert variable("node-name") in line
    assert line.endswith("see l2announce agent --help")


def test_without_a_directory_the_cluster_is_that_of_the_pod(program: Program) -> None:
    assert program.run("--node-name", "n1") == 0
    (asked,) = program.started
    assert (asked.manifests, asked.kubeconfig, asked.context) == (None, None, None)


def test_a_kubeconfig_and_its_context_are_passed_on(program: Program) -> None:
    (program.directory / "kubeconfig").touch()
    assert program.run("--node-name", "n1", "--kubeconfig", "kubeconfig", "--context", "lab") == 0
    (asked,) = program.started
    assert (asked.manifests, asked.kubeconfig, asked.context) == (None, Path("kubeconfig"), "lab")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--kubeconfig", "nowhere"), ("--kubeconfig nowhere", "no such file")),
        (("--context", "lab"), ("--context lab", "name it by --kubeconfig FILE")),
        (("--manifests", "a", "--kubeconfig", "k"), ("--manifests and --kubeconfig", "give one of them")),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(
    program: Program, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert program.run("--node-name", "n1", *flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15s", 15), ("1m30s", 90), ("500ms", 0.5), ("1h", 3600), ("0.3s", 0.3), ("59m1.5s", 3541.5), ("1h", 3600.0), ("0s", 0)],
)
def test_durations_are_written_as_in_go(text: str, seconds: float) -> None:
    assert parse_duration(text, "--x") == pytest.approx(seconds)


def test_a_state_socket_that_another_agent_serves_is_refused(tmp_path: Path) -> None:
    asked = Settings("n1", Timing(), tmp_path, state_socket=tmp_path / "new" / "agent.sock")
    prepare_sockets(asked)
    assert asked.state_socket.parent.stat().st_mode & 0o777 == 0o700
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(asked.state_socket))
        other.listen()
        with pytest.raises(ConfigurationError, match="another agent serves there; stop it"):
            prepare_sockets(asked)
    prepare_sockets(asked)


def test_a_directory_that_is_not_writable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", always(False))
    with pytest.raises(ConfigurationError, match=r"is not writable; choose another path"):
        prepare_sockets(Settings("n1", Timing(), tmp_path, state_socket=tmp_path / "agent.sock"))


def test_the_run_directory_is_roots_or_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", always(True))
    assert default_run_directory() == Path("/run/l2announce")
    monkeypatch.setattr("os.access", always(False))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert default_run_directory() == tmp_path / "l2announce"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert default_run_directory().name.startswith("l2announce-")


def test_without_the_capability_it_is_named_and_how_to_grant_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responder_child, "effective_capabilities", always(~(1 << 13)))
    monkeypatch.setattr("subprocess.Popen", always(None))
    with pytest.raises(ConfigurationError, match=r"CAP_NET_RAW.*run as root, or grant it: AmbientCapabilities=CAP_NET_RAW"):
        ResponderChild(tmp_path / "responder.sock")


def test_a_directory_that_takes_no_socket_is_refused_in_one_line(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    """Root may write everywhere, says access(2); on /proc it cannot."""
    assert program.run(*needed(), "--state-socket", "/proc/self/agent.sock") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("l2announce: --state-socket /proc/self/agent.sock: no socket can be made in /proc/self: ")
    assert line.endswith("; choose another path")
    assert not program.started


def test_the_trial_of_the_directory_leaves_nothing_behind(tmp_path: Path) -> None:
    prepare_sockets(Settings("n1", Timing(), tmp_path, state_socket=tmp_path / "agent.sock"))
    assert list(tmp_path.iterdir()) == []


def test_a_node_whose_heartbeat_cannot_be_named_needs_the_other_mode(tmp_path: Path) -> None:
    name = ".".join(["n" * 60] * 4)
    assert Settings(name, Timing(), manifests=tmp_path, lease_mode="service")
    with pytest.raises(ConfigurationError, match=r"--lease-mode node: no Lease can be named l2announce-node.n.*use service"):
        Settings(name, Timing(), manifests=tmp_path, lease_mode="node")
