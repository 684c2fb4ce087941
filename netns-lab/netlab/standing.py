"""A lab that stays up to play with: ``up`` makes it, ``shell`` gives a shell inside, ``down`` removes it."""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from netlab.kube import Kubernetes, lab_programs
from netlab.lab import OUT, Lab
from netlab.namespaces import INSIDE
from netlab.records import MARK, Record, recorded, records, remove
from netlab.topology import LAB_DIRECTORY, REPOSITORY, load_topology
from netlab.waiting import wait_until

ENTER = LAB_DIRECTORY / "enter"
HOLD_LOG = "hold.log"
UP_SECONDS = 60.0
SHELL_FILE = "shell.sh"

GUIDE = (
    ("leases", "who holds what"),
    ("status n1", "what n1 announces, holds and sees (status n1 -o wide for all of it)"),
    ("l2announce who {address}", "who answers for it, from n1's view"),
    ("on {client} ip neigh", "what the client's kernel believes"),
    ("get {address}", "HTTP from the client: which backend answers"),
    ("on {client} arping -c 3 -I {device} {address}", "one reply each, from one MAC"),
    ("on {switch} tcpdump -eni {bridge} arp or icmp6", "every request and answer"),
    ("stop n1 · crash n1 · start n1", "SIGTERM · SIGKILL of both processes · start again"),
    ("freeze n1 · thaw n1", "SIGSTOP and SIGCONT of the control process"),
    ("on {switch} ip link set n1 down", "pull n1's cable (up: put it back)"),
    ("operator", "start l2announce operator: Services without an address get one of the pool"),
    ("pools -o wide", "how full the pool is, and who has what"),
)
"""What to try in the lab's shell, and what it shows."""

GET = """\
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], {port}, timeout=2)
connection.request("GET", "/")
print(connection.getresponse().read().decode().strip())"""
"""What the shell's ``get`` runs: curl is not on every machine."""


def standing() -> Record | None:
    """The lab that stays up, when there is one."""
    return next((record for record in records() if record.stays and record.is_alive()), None)


def up(cluster: str) -> int:
    """Make a lab that stays, in a process of its own; 0 when it stands, the other process's exit code when it could not be made."""
    if record := standing():
        if record.cluster != cluster:
            print(f"a lab is up already, with the {record.cluster} cluster; remove it first: make lab-down", file=sys.stderr)
            return 2
        print("the lab is up already: make lab-shell")
        return 0
    if cluster == Kubernetes.name:
        lab_programs()
    OUT.mkdir(parents=True, exist_ok=True)
    log_path = OUT / HOLD_LOG
    with log_path.open("wb") as log:
        command = (str(ENTER), sys.executable, "-m", "netlab", "--cluster", cluster, "hold")
        holder = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def ready_or_dead() -> bool:
        record = standing()
        return bool(record and record.ready) or holder.poll() is not None

    try:
        wait_until(ready_or_dead, UP_SECONDS, "the lab to come up", interval=0.05)
    except BaseException:
        holder.send_signal(signal.SIGTERM)
        holder.wait()
        raise
    if holder.poll() is not None:
        print(log_path.read_text(errors="replace").rstrip(), file=sys.stderr)
        return holder.returncode or 1
    print("the lab is up: make lab-shell gives a shell inside, make lab-down removes it")
    return 0


def hold(cluster: str) -> int:
    """Be the process that keeps the lab up, until SIGTERM."""
    topology = load_topology()
    with (
        tempfile.TemporaryDirectory(prefix="netlab-") as name,
        recorded(Path(name), cluster, stays=True) as record,
        Lab(topology, Path(name), cluster) as lab,
    ):
        lab.start_agents()
        (Path(name) / SHELL_FILE).write_text(shell_file(lab))
        msgspec.structs.replace(record, ready=True).save()
        signal.pause()
    return 0


def shell_file(lab: Lab) -> str:
    """What bash reads at its start in a lab's shell: the functions that the guide names."""
    topology, guide = lab.topology, _guide(lab)
    starts = "\n".join(
        f"    {name}) setsid ip netns exec {name} {shlex.join(agent.command())} >>{shlex.quote(str(agent.log))} 2>&1 </dev/null & ;;"
        for name, agent in lab.agents.items()
    )
    first = next(iter(lab.agents.values()))
    operator = ("--identity", "lab", "--metrics-address", "none", *lab.cluster.operator_flags())
    return f"""\
[ -r ~/.bashrc ] && [ -n "${{PS1-}}" ] && . ~/.bashrc
export LAB={shlex.quote(str(lab.directory))} {INSIDE}=1 {MARK}={shlex.quote(str(lab.directory))}
export L2ANNOUNCE_STATE_SOCKET={shlex.quote(str(first.socket))}
export PATH={shlex.quote(str(Path(first.command()[0]).parent))}:$PATH:/usr/sbin:/sbin
cd {shlex.quote(str(REPOSITORY))} || exit
PS1='lab# '
GET={shlex.quote(GET.format(port=topology.ports.http))}
on() {{ ip netns exec "$@"; }}
{lab.cluster.shell_lines()}
status() {{ l2announce status --state-socket "$LAB/$1.sock" "${{@:2}}"; }}
control() {{ pgrep -o -f -- "agent --node-name $1 --(manifests|kubeconfig) $LAB/" ||
    {{ echo "no agent runs on ${{1:-which node}}?" >&2; return 1; }}; }}
operator() {{ setsid ip netns exec {first.node} l2announce operator {shlex.join(operator)} >>"$LAB/operator.log" 2>&1 </dev/null & }}
pools() {{ on {first.node} l2announce pools {shlex.join(lab.cluster.operator_flags())} "$@"; }}
get() {{ on {topology.client.name} {shlex.quote(sys.executable)} -c "$GET" "$1"; }}
stop() {{ local pid; pid=$(control "$1") && kill -TERM "$pid"; }}
crash() {{ local pid; pid=$(control "$1") && kill -KILL "$pid" $(pgrep -P "$pid"); }}
freeze() {{ local pid; pid=$(control "$1") && kill -STOP "$pid"; }}
thaw() {{ local pid; pid=$(control "$1") && kill -CONT "$pid"; }}
start() {{
    control "$1" >/dev/null 2>&1 && {{ echo "$1 runs already" >&2; return 1; }}
    case $1 in
{starts}
    *) echo "no node $1" >&2; return 1 ;;
    esac
}}
guide() {{ cat <<'GUIDE'
{guide}
GUIDE
}}
"""


def _guide(lab: Lab) -> str:
    """What the shell says first."""
    client, switch = lab.topology.client, lab.topology.switch
    addresses = {item.address.version: str(item.address) for item in reversed(lab.services)}
    words = {
        "client": client.name,
        "switch": switch.name,
        "bridge": switch.bridge,
        "device": client.device,
        "address": addresses.get(4, next(iter(addresses.values()))),
    }
    return "\n".join(
        [
            f"The lab is up: client {client.name}, nodes {', '.join(lab.agents)}, a backend behind each, switch {switch.name}. Try:",
            "",
            *(f"  {command.format(**words):<46} {shows}" for command, shows in (*GUIDE, *lab.cluster.guide)),
            "",
            "`on NAME COMMAND` is `ip netns exec NAME COMMAND`. Leave with exit; the lab stays until `make lab-down`.",
        ]
    )


def shell(cluster: str) -> int:
    """A shell inside the lab that stays, whichever cluster it has; makes one first when there is none. The lab stays afterwards."""
    if os.environ.get(INSIDE) == "1":
        print("this is the lab's shell already", file=sys.stderr)
        return 2
    if standing() is None and (code := up(cluster)):
        return code
    record = standing()
    if record is None:
        print("the lab ended meanwhile; see netns-lab/out/hold.log", file=sys.stderr)
        return 1
    user = () if os.getuid() == 0 else ("--user", "--preserve-credentials")
    start = str(Path(record.directory) / SHELL_FILE)
    interactive = sys.stdin.isatty()
    bash = ("bash", "--rcfile", start, "-i") if interactive else ("bash",)
    if record.cluster != cluster:
        print(f"this lab has the {record.cluster} cluster", file=sys.stderr)
    if interactive:
        subprocess.run(("bash", "-c", f". {shlex.quote(start)} && guide"), check=False)
    inside = ("nsenter", "--target", str(record.pid), *user, "--mount", "--net", *bash)
    code = subprocess.run(inside, check=False, env={**os.environ, "BASH_ENV": start}).returncode
    print("the lab is still up: make lab-shell to return, make lab-down to remove it")
    return code if not interactive else 0


def down(_cluster: str) -> int:
    """Remove the lab that stays and everything that killed labs left. A run that goes on is left alone: it removes itself."""
    if os.environ.get(INSIDE) == "1":
        print("leave the lab's shell first (exit), then: make lab-down", file=sys.stderr)
        return 2
    found = records()
    for record in found:
        if record.is_alive() and not record.stays:
            print(f"a lab run goes on in process {record.pid}: it removes itself at its end; stop it with Ctrl-C there")
        else:
            remove(record)
            print(f"removed the lab of process {record.pid}: its processes, its namespaces and {record.directory}")
    if not found:
        print("no lab is up, and none left anything")
    return 0
