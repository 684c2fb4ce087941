"""The lab as one object: network, backends, agents, prober and capture, started in order and all gone at the end."""

import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from netlab.agents import Agent
from netlab.build import build
from netlab.clusters import CLUSTERS, EMBEDDED, LabCluster
from netlab.feed import CaptureFeed, ProberFeed
from netlab.leases import LeaseHistory
from netlab.namespaces import Network, stop_processes
from netlab.prober import ProberConfig
from netlab.services import load_service_addresses
from netlab.topology import LAB_DIRECTORY, REPOSITORY, Topology
from netlab.view import View
from netlab.waiting import wait_until
from netlab.wallclock import WallClock

MANIFESTS = REPOSITORY / "policies" / "lab"
OUT = LAB_DIRECTORY / "out"
START_SECONDS = 20.0


class Lab:
    """The network with its backends, and an agent for each node, not yet started. A context manager; the directory is the caller's.

    ``directory`` gets the agents' sockets and logs, and a copy of policies/lab. ``cluster`` is a name in CLUSTERS. With ``own_clocks`` each
    agent has a wall clock of its own, in ``clocks``.
    """

    def __init__(self, topology: Topology, directory: Path, cluster: str = EMBEDDED, own_clocks: bool = False) -> None:
        self.topology = topology
        self.directory = directory
        self.manifests = directory / "manifests"
        shutil.copytree(MANIFESTS, self.manifests)
        self.services = load_service_addresses(self.manifests)
        self.cluster: LabCluster = CLUSTERS[cluster](self.manifests, directory)
        self.network = Network()
        self.agents: dict[str, Agent] = {}
        self.clocks = {node.name: WallClock(directory / f"{node.name}.clock") for node in topology.nodes} if own_clocks else {}
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        self._cleanup.enter_context(self.network)
        try:
            build(self.network, self.topology)
            self._cleanup.callback(self.cluster.stop)
            self.cluster.start(self.network, self.topology, self.services)
        except BaseException:
            self._cleanup.close()
            raise
        for node in self.topology.nodes:
            flags = self.cluster.agent_flags(node.name)
            made = self.agents[node.name] = Agent(self.network[node.name], node.name, flags, self.directory, self.topology.agents)
            if node.name in self.clocks:
                made.before = self.clocks[node.name].command()
        self._cleanup.callback(self._end_agents)  # before their cluster, so that they can release their leases
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._cleanup.close()

    def _end_agents(self) -> None:
        stop_processes([agent.process for agent in self.agents.values() if agent.process is not None])

    def macs(self) -> dict[bytes, str]:
        """The name of each node by the MAC of its device on the switch."""
        return {self.network[node.name].mac(node.device): node.name for node in self.topology.nodes}

    def start_agents(self) -> None:
        """Start every agent and wait until each serves its state."""
        for agent in self.agents.values():
            agent.start()
        for agent in self.agents.values():
            self._wait_started(agent)

    def _wait_started(self, agent: Agent) -> None:
        def started_or_dead() -> bool:
            return agent.socket.exists() or not agent.is_running()

        wait_until(started_or_dead, START_SECONDS, f"agent {agent.node} to start")
        if not agent.is_running():
            raise ChildProcessError(f"agent {agent.node} did not start: {' '.join(agent.command())}\n{agent.last_words()}")

    def stop_agents(self) -> None:
        """Stop every agent in an orderly way."""
        running = [agent for agent in self.agents.values() if agent.is_running()]
        for agent in running:
            agent.terminate()
        for agent in running:
            agent.wait_stopped(5.0)


class Watch:
    """What observes a lab: lease history, capture, prober and view. A context manager; ``start`` is when it began, ns since the epoch.

    ``history``: the lease history to use in place of a new one.
    """

    def __init__(self, lab: Lab, capture_file: Path, history: LeaseHistory | None = None) -> None:
        topology, prober = lab.topology, lab.topology.prober
        self.start = time.time_ns()
        self.clock_offset = self.start - time.monotonic_ns()
        self.leases = history or lab.cluster.lease_history()
        ports = [topology.client.name, *(node.name for node in topology.nodes)]
        self.capture = CaptureFeed(lab.network[topology.switch.name], capture_file, ports)
        config = ProberConfig(
            device=topology.client.device,
            interval=prober.interval,
            addresses=[str(item.address) for item in lab.services],
            traffic_port=topology.ports.echo,
            asker_count=prober.askers,
            asker_mac=prober.mac,
            asker_ipv4=prober.ipv4,
            asker_ipv6=prober.ipv6,
            log=str(lab.directory / "probes.json"),
        )
        client = lab.network[topology.client.name]
        self.feed = ProberFeed(client, config, lab.directory)
        self.view = View(client, lab.services, lab.macs(), self.leases, self.feed, topology.ports.http)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.view.stop()
        self.leases.stop()

    def clock_step(self) -> float:
        """How far the wall clock was moved since the start, in seconds. The figures are worth nothing when that is much."""
        return (time.time_ns() - time.monotonic_ns() - self.clock_offset) / 1e9
