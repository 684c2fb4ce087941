"""The command line as a user meets it: help, exit codes, one line for every mistake, and a page that tells all of it."""

import re
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.main import get_command

from l2announce import __version__
from l2announce.cli import live, status, who
from l2announce.cli.main import app, main
from l2announce.errors import ConfigurationError, KernelError
from l2announce.model.status import AddressStatus, LinkStatus, NodeStatus, ProblemStatus, ServiceStatus

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
COMMANDS: dict[str, list[object]] = {name: each.params for name, each in getattr(get_command(app), "commands", {}).items()}
SERVED = ServiceStatus(
    "shop/web",
    (AddressStatus("192.0.2.1", ("eth0",), 3, 0.5, 5, pool="lab"), AddressStatus("2001:db8::1", ("eth0",), 1, 90.0)),
    announced=True,
    lease="cilium-l2announce-shop.web",
    holder="n1",
    since="then",
    macs=("eth0=02:00:00:00:cd:01",),
    state="holding",
    deadline=12.0,
    shares_with=("shop/api",),
)
ELSEWHERE = ServiceStatus("shop/api", (AddressStatus("192.0.2.2"),), holder="n2", since="before", macs=("eth1=a",), reason="HeldBy=n2")
NOBODYS = ServiceStatus("shop/old", (AddressStatus("192.0.2.3"),), reason="NoCarrier")
NODE = NodeStatus(
    node="n1",
    version="9",
    ready=True,
    gate_open=True,
    failover_bound=17.0,
    restart_bound=8.5,
    generation_sent=2,
    generation_applied=2,
    services=(SERVED, ELSEWHERE, NOBODYS),
    links=(LinkStatus("eth0", "02:00:00:00:cd:01", carrier=True), LinkStatus("eth1", "02:00:00:00:cd:02", carrier=False)),
    problems=(ProblemStatus("web.yaml:1", "BrokenFile", "correct the syntax of [x]"),),
    responder_problems=("eth0: filter made coarser",),
    verdicts={"not_claimed": 2, "answered": 3},
)


@pytest.fixture(autouse=True)
def answering(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that answers with NODE."""
    monkeypatch.setattr(status, "ask_agent", lambda _: NODE)
    monkeypatch.setattr(who, "ask_agent", lambda _: NODE)
    monkeypatch.delenv("L2ANNOUNCE_STATE_SOCKET", raising=False)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the program in this process; the exit code."""
    monkeypatch.setattr("sys.argv", ["l2announce", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def words(line: str) -> list[str]:
    """The cells of a row."""
    return re.split(r"\s{2,}", line.strip())


def flags(parameter: object) -> list[str]:
    """How a parameter is written: ``--output``, ``-o``."""
    return [name for name in getattr(parameter, "opts", []) if name.startswith("-")]


def test_bare_program_and_help_show_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ((), ("-h",), ("--help",)):
        assert run(monkeypatch, *arguments) == 0
        printed = capsys.readouterr()
        assert not printed.err
        assert set(re.findall(r"^  ([a-z]+)  ", printed.out, re.MULTILINE)) == {
            "agent",
            "operator",
            "pools",
            "responder",
            "status",
            "who",
            "explain",
            "replay",
            "move",
            "drain",
        }
        assert "..." not in printed.out.partition("Commands:")[2], "no help is cut short"


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"l2announce {__version__}\n"


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"responder"}))
def test_help_explains_every_flag(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert run(monkeypatch, command, "--help") == 0
    printed = capsys.readouterr().out
    for parameter in COMMANDS[command]:
        assert getattr(parameter, "help", None), f"{command} {parameter} has no help"
        for flag in flags(parameter):
            assert flag in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_the_responders_help_is_its_own() -> None:
    command = (str(Path(sys.executable).with_name("l2announce")), "responder", "--help")
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    for flag in ("--socket", "--exit-when-orphaned"):
        assert flag in done.stdout


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_page_tells_every_command_flag_and_variable(command: str) -> None:
    section = PAGE.partition(f"## `l2announce {command}")[2].partition("\n## ")[0]
    assert section
    for parameter in COMMANDS[command]:
        variable = getattr(parameter, "envvar", None)
        for flag in flags(parameter):
            assert f"`{flag}" in section, f"docs/cli.md: l2announce {command}: {flag}"
        if variable is not None:
            assert f"`{variable}`" in section
    told = set(re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE))
    assert told <= {flag for parameter in COMMANDS[command] for flag in flags(parameter)}, "the page tells of a flag that does not exist"


def test_the_page_tells_the_defaults() -> None:
    section = PAGE.partition("## `l2announce agent`")[2].partition("\n## ")[0]
    for parameter in COMMANDS["agent"]:
        default = getattr(parameter, "default", None)
        if isinstance(default, str):
            (row,) = (line for line in section.splitlines() if line.startswith(f"| `{flags(parameter)[0]}"))
            assert f"| `{getattr(default, 'value', default)}` |" in row


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("nosuch",), "No such command 'nosuch'; see l2announce --help"),
        (("--bad",), "No such option: --bad; see l2announce --help"),
        (("status", "-o", "xml"), "'xml' is not one of 'table', 'wide', 'json', 'yaml'; see l2announce status --help"),
        (("status", "extra"), "Got unexpected extra argument"),
        (("status", "--manifests", "/nowhere"), "--manifests /nowhere: no such directory"),
        (("status", "--manifests", "/tmp", "--state-socket", "x"), "--state-socket and --manifests: give one of them"),  # noqa: S108
        (("who",), "see l2announce who --help"),
        (("who", "192.0.2"), "'192.0.2': not an IPv4 or IPv6 address"),
        (("who", "192.0.2.0/24"), "'192.0.2.0/24': not an IPv4 or IPv6 address"),
        (("replay", "x.pcap"), "'--claims'"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: str
) -> None:
    assert run(monkeypatch, *arguments) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("l2announce: ")
    assert expected in line
    assert not printed.out


def test_a_fault_gets_one_line_and_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: object) -> NodeStatus:
        raise KernelError("eth0: no such luck")

    monkeypatch.setattr(status, "ask_agent", fail)
    assert run(monkeypatch, "status") == 1
    assert capsys.readouterr().err == "l2announce: eth0: no such luck\n"


def test_status_as_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "status") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "node n1  ready  gate open  failover bound 17s  restart bound 8.5s  l2announce 9"
    assert [words(line) for line in lines[2:6]] == [
        ["SERVICE", "ADDRESSES", "HOLDER", "HERE", "WHY NOT HERE"],
        ["shop/web", "192.0.2.1 2001:db8::1", "n1", "announced", "-"],
        ["shop/api", "192.0.2.2", "n2", "-", "HeldBy=n2"],
        ["shop/old", "192.0.2.3", "nobody", "-", "NoCarrier"],
    ]
    assert [words(line) for line in lines[7:10]] == [
        ["INTERFACE", "MAC", "CARRIER"],
        ["eth0", "02:00:00:00:cd:01", "yes"],
        ["eth1", "02:00:00:00:cd:02", "no"],
    ]
    assert [words(line) for line in lines[11:]] == [
        ["PROBLEM WITH", "REASON", "WHAT TO DO"],
        ["web.yaml:1", "BrokenFile", "correct the syntax of [x]"],
        ["responder", "Datapath", "eth0: filter made coarser"],
    ]


def test_status_as_a_wide_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "status", "-o", "wide") == 0
    lines = capsys.readouterr().out.splitlines()
    wide = ["cilium-l2announce-shop.web", "holding", "then", "eth0=02:00:00:00:cd:01", "4", "0.5s ago", "shop/api", "lab"]
    assert words(lines[3])[5:] == wide
    assert words(lines[5])[5:] == ["-", "-", "-", "-", "0", "never", "-", "-"]
    start = lines.index(next(line for line in lines if line.startswith("VERDICT")))
    assert [words(line) for line in lines[start + 1 : start + 3]] == [["answered", "3"], ["not_claimed", "2"]]


@pytest.mark.parametrize(
    ("address", "code", "row"),
    [
        ("192.0.2.1", 0, ["shop/web", "n1", "eth0=02:00:00:00:cd:01", "then", "0.5s ago", "-"]),
        ("2001:DB8:0::1", 0, ["shop/web", "n1", "eth0=02:00:00:00:cd:01", "then", "90.0s ago", "-"]),
        ("192.0.2.2", 0, ["shop/api", "n2", "eth1=a", "before", "ask n2", "HeldBy=n2"]),
        ("192.0.2.3", 1, ["shop/old", "nobody", "-", "-", "never", "NoCarrier"]),
    ],
)
def test_who(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str, code: int, row: list[str]) -> None:
    assert run(monkeypatch, "who", address) == code
    head, found = capsys.readouterr().out.splitlines()
    assert words(head) == ["SERVICE", "HOLDER", "ON", "SINCE", "LAST ANSWER", "WHY NOT HERE"]
    assert words(found) == row


def test_who_of_a_guarded_address(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The Service is announced by its other addresses, so the reason is the address's own."""
    never = replace(SERVED, addresses=(*SERVED.addresses, AddressStatus("192.0.2.254", guarded="Gateway")))
    monkeypatch.setattr(who, "ask_agent", lambda _: replace(NODE, services=(never,)))
    assert run(monkeypatch, "who", "192.0.2.254") == 0
    assert words(capsys.readouterr().out.splitlines()[1])[-2:] == ["never", "Gateway"]


def test_who_of_an_unknown_address(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "who", "198.51.100.1") == 1
    assert capsys.readouterr().err == "l2announce: 198.51.100.1: no Service has this address, as far as node n1 knows\n"


def test_status_goes_on_until_it_is_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe: a block for each change, also for an agent that is away for a while."""
    answers: list[NodeStatus | ConfigurationError] = [NODE, NODE, ConfigurationError("no agent answers there")]
    seen = iter([*answers, replace(NODE, gate_open=False)])

    def ask(_: object) -> NodeStatus:
        answer = next(seen, None)
        if answer is None:
            raise KeyboardInterrupt
        if isinstance(answer, ConfigurationError):
            raise answer
        return answer

    monkeypatch.setattr(status, "ask_agent", ask)
    monkeypatch.setattr(live, "INTERVAL", 0.0)
    assert run(monkeypatch, "status", "--watch") == 0
    printed = capsys.readouterr()
    assert not printed.err
    heads = [line for line in printed.out.splitlines() if line.startswith(("node ", "no agent"))]
    assert [head.partition("  failover")[0] for head in heads] == [
        "node n1  ready  gate open",
        "no agent answers there",
        "node n1  ready  gate closed",
    ]


def test_status_in_place_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, screen = iter(["first", "second"]), StringIO()

    def show() -> str:
        try:
            return next(shown)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(live, "INTERVAL", 0.0)
    live.watch_text(Console(file=screen, force_terminal=True), show)
    assert "first" in screen.getvalue()
    assert "second" in screen.getvalue()


@pytest.mark.parametrize("flags", [("-o", "json"), ("-o", "yaml"), ("--manifests", ".")])
def test_only_the_tables_of_an_agent_can_be_watched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]
) -> None:
    assert run(monkeypatch, "status", "--watch", *flags) == 2
    assert "--watch: for the tables of a live agent; leave out" in capsys.readouterr().err
