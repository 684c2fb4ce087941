"""Whole agents on a real API server: processes in the namespaces of three nodes, asked on the wire by a client.

Nodes reach the control plane by a network of their own, so that what is done to it does not touch the switch.
"""

import asyncio
import json
import os
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path
from typing import Any

from netlab.agents import Agent, children
from netlab.api_proxy import ApiProxy, Fault, Rule, api_proxy, pass_all
from netlab.control_plane import ControlPlane, find_programs
from netlab.namespaces import Namespace, Network
from netlab.segment import Segment, build_segment
from netlab.topology import AgentSettings
from netlab.waiting import wait_until

from l2announce.agent.clusters import LEASE_CONNECTIONS, OBJECT_CONNECTIONS
from l2announce.kube.transport import JSON, MERGE_PATCH
from tests.apiserver.conftest import prepare
from tests.apiserver.rig import AGENTS, LEASES, SERVICES
from tests.netns.agents_stand import Asker, node_object, policy, service

SETTINGS = AgentSettings("2s", "0.8s", "0.4s")
OUTAGE = 1.5 * SETTINGS.lease_seconds
"""Seconds: longer than any right lasts."""
PATIENCE = 40.0
"""Seconds for what has no bound, on a busy machine; the wait between two attempts grows to 10 s."""
ADDRESSES = {"web": "10.99.0.10", "api": "fd99::10"}
NEW = {"new": "10.99.0.99"}
ALTERNATION = 0.1
"""Seconds; a node that was elected and lost again at once, on a busy machine, takes longer."""
TOLD = 3
"""Connections that come and go beside those for leases: the lease of who writes statuses, a status, an Event."""
WATCHES = 5
"""Connections that are always there: definition, nodes, policies, Services, leases."""
MOST_THREADS = 1 + 4 + min(32, (os.cpu_count() or 1) + 4)
"""The loop's, libuv's pool (it resolves names), and asyncio's, which grow as they are used, up to this."""
CONTROL = "10.97.0.1"


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds: descriptors, of them connections to the API server, and threads."""

    connections: int
    other: int
    threads: int


def held(pid: int) -> Held:
    """What a process holds now."""
    tables = [Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    connections = {f"socket:[{line.split()[9]}]" for table in tables for line in table}
    targets = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            targets.append(str(descriptor.readlink()))
    threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    to_server = sum(target in connections for target in targets)
    return Held(to_server, len(targets) - to_server, threads)


@dataclass(frozen=True, slots=True)
class Site:
    """The network and the control plane, on which agents come and go."""

    segment: Segment
    control: Namespace
    plane: ControlPlane
    directory: Path

    def populate(self) -> None:
        """The definition, the rights, and what is to be announced; also after all was lost."""
        prepare(self.plane)
        self.plane.kubectl("wait", "--for=condition=Established", "customresourcedefinition/ciliuml2announcementpolicies.cilium.io")
        self.plane.apply(*(node_object(agent.name) for agent in AGENTS))
        self.plane.apply(policy())
        for name, address in ADDRESSES.items():
            self.make_service(name, address)

    def make_service(self, name: str, address: str) -> None:
        """Make a Service and give it its address, as a cloud does. OSError when the API server is not there, or refuses."""
        document = service(f"default/{name}", address, allocateLoadBalancerNodePorts=False)
        if ":" in address:
            document["spec"]["ipFamilies"] = ["IPv6"]
        with suppress(FileExistsError):  # a second try, perhaps
            self.request("POST", SERVICES, document)
        self.request("PATCH", f"{SERVICES}/{name}/status", {"status": document["status"]})

    def delete_service(self, name: str) -> None:
        """Delete a Service."""
        self.request("DELETE", f"{SERVICES}/{name}")

    def holder(self, service_name: str) -> str:
        """Who holds the lease of a Service, as the API server has it; "" when nobody does, or it does not answer."""
        try:
            lease = self.request("GET", f"{LEASES}/cilium-l2announce-default.{service_name}")
        except OSError:
            return ""
        return str(lease["spec"].get("holderIdentity", ""))

    def request(self, method: str, path: str, document: Any = None) -> Any:
        """One request of the administrator. kubectl would do as well, but takes a quarter of a second to start."""
        trust = ssl.create_default_context(cafile=self.plane.directory / "ca.crt")
        body = None if document is None else json.dumps(document).encode()
        headers = {"Authorization": f"Bearer {self.plane.users[0].token}", "Content-Type": MERGE_PATCH if method == "PATCH" else JSON}
        request = urllib.request.Request(f"{self.plane.url}{path}", body, headers, method=method)  # noqa: S310 - our own server
        try:
            with self.control.entered(), urllib.request.urlopen(request, timeout=5, context=trust) as answer:  # noqa: S310 - as above
                return json.load(answer)
        except urllib.error.HTTPError as err:
            if err.code == HTTPStatus.CONFLICT:
                raise FileExistsError(path) from err
            raise


def build_network(network: Network) -> tuple[Segment, Namespace]:
    """A segment, and the namespace of the control plane, which its nodes reach by a network of their own."""
    segment = build_segment(network)
    control = network.namespace("control")
    network.bridge(control, "mgmt0", snooping=False, querier=False)
    control.address("mgmt0", f"{CONTROL}/24")
    for number, node in enumerate(segment.nodes, 101):
        network.attach(control, "mgmt0", node, "mgmt")
        node.address("mgmt", f"10.97.0.{number}/24")
    network.wait_ready()
    return segment, control


@contextmanager
def build_site(directory: Path) -> Iterator[Site]:
    """Everything but agents."""
    with Network() as network:
        segment, control = build_network(network)
        with ControlPlane(find_programs(), directory / "control-plane", AGENTS, control, CONTROL) as plane:
            site = Site(segment, control, plane, directory)
            site.populate()
            yield site


class ProxyThread(threading.Thread):
    """An ApiProxy in the control plane's namespace, with an event loop of its own."""

    def __init__(self, site: Site) -> None:
        super().__init__(name="proxy", daemon=True)
        self.kubeconfigs: dict[str, Path] = {}
        self._site = site
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._proxy: ApiProxy | None = None
        self._end: asyncio.Event | None = None

    def run(self) -> None:
        """Serve until ``stop``."""
        with self._site.control.entered():
            asyncio.run(self._serve())

    async def _serve(self) -> None:
        async with api_proxy(self._site.plane, AGENTS, CONTROL) as (self._proxy, self.kubeconfigs):
            self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
            self._ready.set()
            await self._end.wait()

    def begin(self) -> None:
        """Start it and wait until it serves."""
        self.start()
        assert self._ready.wait(PATIENCE)

    def judge(self, rule: Rule) -> None:
        """Have ``rule`` judge every request from now on, and break off the watches that are under way."""
        assert self._proxy is not None
        assert self._loop is not None
        self._proxy.rule = rule
        self._loop.call_soon_threadsafe(self._proxy.cut_watches)

    def judge_running(self, rule: Rule) -> None:
        """The same without breaking anything off."""
        assert self._proxy is not None
        self._proxy.rule = rule

    def stop(self) -> None:
        """End it."""
        if self._loop is not None and self._end is not None:
            self._loop.call_soon_threadsafe(self._end.set)
        self.join(PATIENCE)


@dataclass(slots=True)
class Agents:
    """An agent on each node, and the client that asks for every address each 10 ms."""

    site: Site
    agents: dict[str, Agent]
    asker: Asker
    proxy: ProxyThread | None
    before: dict[str, tuple[Held, Held]]

    @property
    def judge(self) -> Any:
        """See ProxyThread.judge; of agents behind a proxy only."""
        assert self.proxy is not None
        return self.proxy.judge

    def right_node_answers(self, name: str, address: str) -> str:
        """Wait until the holder of the lease, and nobody else, answers for the address. The holder."""

        def look() -> str:
            holder, now = self.site.holder(name), time.time()
            if not holder:
                return ""
            wanted = [self.agents[holder].namespace.mac("eth0")]
            with suppress(TimeoutError):
                self.asker.wait_answer(address, wanted[0], now, 0.5)
            self.asker.wait_asked(20)
            return holder if self.asker.owners(address, now) == wanted and self.site.holder(name) == holder else ""

        return wait_until(look, PATIENCE, f"the holder of {name} to answer for {address}")

    def nobody_answers(self) -> None:
        """Wait until no address was answered for in half a second."""

        def silent() -> bool:
            now = time.time()
            self.asker.wait_asked(50)
            return not any(self.asker.of(address, now) for address in ADDRESSES.values())

        wait_until(silent, PATIENCE, "every answer to end")

    def storm(self, rule: Rule) -> None:
        """Have every request judged by ``rule`` for longer than a lease lasts, with the watches cut at its start."""
        self.judge(rule)
        self.asker.wait_asked(round(OUTAGE * 100))
        assert self.proxy is not None
        self.proxy.judge_running(pass_all)

    @contextmanager
    def surviving(self) -> Iterator[None]:
        """Do harm inside. Afterwards the right nodes answer, for new Services as well, without a restart, and nothing has leaked.

        No two nodes answered for an address at one time.
        """
        since = time.time()
        yield
        for name, address in ADDRESSES.items():
            self.right_node_answers(name, address)
        for name, address in NEW.items():
            self._make(name, address)
            self.right_node_answers(name, address)
            self.site.delete_service(name)
        for address in ADDRESSES.values():
            self._check_exclusive(address, since)
        for name, agent in self.agents.items():
            assert agent.is_running(), agent.last_words()
            self._check_leaks(agent, self.before[name])

    def _make(self, name: str, address: str) -> None:
        """Make a Service; the API server may not be quite itself yet."""

        def made() -> bool:
            with suppress(OSError):
                self.site.make_service(name, address)
                return True
            return False

        wait_until(made, PATIENCE, f"Service {name} to be made")

    def _check_exclusive(self, address: str, since: float) -> None:
        """Two who answer each ask would alternate each 10 ms; one that is elected answers for longer than ALTERNATION."""
        answers = self.asker.of(address, since)
        changes = [later.at for earlier, later in pairwise(answers) if earlier.mac != later.mac]
        assert all(later - earlier > ALTERNATION for earlier, later in pairwise(changes)), f"{address} changed hands at {changes}"

    def _check_leaks(self, agent: Agent, before: tuple[Held, Held]) -> None:
        """Wait until an agent holds what it held before. A connection for each lease, and a link's socket for IPv6 groups, come and go."""
        allowed = WATCHES + len(ADDRESSES) + len(NEW) + TOLD
        last: tuple[Held, ...] = ()

        def as_before() -> bool:
            nonlocal last
            last = tuple(held(pid) for pid in agent.both_pids())
            control, responder = last
            grown = control.connections > allowed or control.other > before[0].other or control.threads > MOST_THREADS
            return not grown and responder.other <= before[1].other + 1 and responder.threads == before[1].threads

        try:
            wait_until(as_before, PATIENCE, "nothing to be held that was not before")
        except TimeoutError:
            raise AssertionError(f"{agent.node} holds {last}, before {before}; connections allowed: {allowed}") from None


@contextmanager
def start_agents(site: Site, behind_proxy: bool, *flags: str) -> Iterator[Agents]:
    """An agent on each node, straight on the API server or behind a proxy, all settled. ``flags`` are added to their command lines."""
    assert WATCHES < OBJECT_CONNECTIONS < LEASE_CONNECTIONS, "the pools are no bound that would hide a leak"
    with ExitStack() as stack:
        proxy = ProxyThread(site) if behind_proxy else None
        kubeconfigs = {agent.name: site.plane.kubeconfig(agent.name) for agent in AGENTS}
        if proxy is not None:
            stack.callback(proxy.stop)
            proxy.begin()
            kubeconfigs = proxy.kubeconfigs
        agents = {}
        for node in site.segment.nodes:
            cluster = ("--kubeconfig", str(kubeconfigs[node.name]), *flags)
            agents[node.name] = Agent(node, node.name, cluster, site.directory, SETTINGS)
            agents[node.name].start()
            stack.callback(_stop, agents[node.name])
        asker = Asker(site.segment.client, [*ADDRESSES.values(), *NEW.values()])
        stack.callback(asker.stop)
        asker.start()
        made = Agents(site, agents, asker, proxy, {})
        for name, address in ADDRESSES.items():
            made.right_node_answers(name, address)
        for agent in agents.values():
            wait_until(lambda agent=agent: held(agent.pid).connections >= WATCHES, PATIENCE, f"{agent.node} to watch")  # type: ignore[misc]
        made.before = {name: (held(agent.pid), held(children(agent.pid)[0])) for name, agent in agents.items()}
        yield made


def _stop(agent: Agent) -> None:
    """End an agent that may have ended before."""
    if agent.is_running():
        agent.terminate()
        agent.wait_stopped(PATIENCE)


def replaced(path: Path, old: str, new: str) -> None:
    """Replace a text in a file, in one step."""
    draft = path.with_suffix(".new")
    draft.write_text(path.read_text().replace(old, new))
    draft.replace(path)


def refusing(status: int, *methods: str) -> Rule:
    """A rule that refuses requests of these methods, of any without one."""
    return lambda seen: Fault(status=status, headers={"Retry-After": "1"}) if not methods or seen.method in methods else None


def inside_namespace() -> bool:
    """Whether this is a private place for namespaces."""
    return os.environ.get("NETLAB_INSIDE") == "1"
