"""A small kubelet: runs the Pods that a real control plane has for our nodes, as their specification says, in the nodes' namespaces.

What it honours: users, capabilities, seccomp, read-only roots, host network, emptyDir and projected volumes with their group, environment,
tokens from the TokenRequest API, containers that restart always beside others (sidecars) and their order at start and end, the three
kinds of probes, the grace of an end. What it does not know makes it refuse the Pod: nothing is silently left out but resources, and images,
of which it has one.
"""

import http.client
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from netlab.namespaces import Namespace, require_private_place, run_command
from netlab.oci import Container, Image, Mount, Security, leave_hybrid_cgroups

Api = Callable[[str, str, Any], Any]
"""A request of the administrator: method, path, document. OSError when it fails."""
Object = Mapping[str, Any]
LOOK = 0.1
"""Seconds between two looks at the API server, and at the processes."""
RESTART_DELAY = 0.5
TOKEN_SECONDS = 3607
KNOWN = frozenset(
    {
        "activeDeadlineSeconds",
        "affinity",
        "automountServiceAccountToken",
        "containers",
        "dnsPolicy",
        "enableServiceLinks",
        "hostNetwork",
        "initContainers",
        "nodeName",
        "nodeSelector",
        "preemptionPolicy",
        "priority",
        "priorityClassName",
        "restartPolicy",
        "schedulerName",
        "securityContext",
        "serviceAccount",
        "serviceAccountName",
        "terminationGracePeriodSeconds",
        "tolerations",
        "volumes",
    }
)
KNOWN_OF_CONTAINER = frozenset(
    {
        "args",
        "command",
        "env",
        "image",
        "imagePullPolicy",
        "livenessProbe",
        "name",
        "ports",
        "readinessProbe",
        "resources",
        "restartPolicy",
        "securityContext",
        "startupProbe",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "volumeMounts",
    }
)


@dataclass(slots=True)
class Probe:
    """A probe of a container: when it is due, and how often it failed in a row."""

    spec: Object
    container: Container
    failures: int = 0
    due: float = 0.0

    def started(self) -> None:
        """The container has just started."""
        self.failures, self.due = 0, time.monotonic() + self.spec.get("initialDelaySeconds", 0)

    def run(self) -> bool:
        """Ask once: whether it answers well. Counted."""
        self.due = time.monotonic() + self.spec.get("periodSeconds", 10)
        well = self._ask(self.spec.get("timeoutSeconds", 1))
        self.failures = 0 if well else self.failures + 1
        return well

    @property
    def has_failed(self) -> bool:
        """Failed as often as it may, in a row."""
        return self.failures >= int(self.spec.get("failureThreshold", 3))

    def _ask(self, seconds: float) -> bool:
        if "exec" in self.spec:
            try:
                done = self.container.execute(*self.spec["exec"]["command"], seconds=seconds)
            except TimeoutExpired:
                return False
            return done.returncode == 0
        get = self.spec["httpGet"]
        with self.container.namespace.entered():
            connection = http.client.HTTPConnection(get["host"], int(get["port"]), timeout=seconds)
            try:
                connection.request("GET", get["path"])
                return connection.getresponse().status < HTTPStatus.BAD_REQUEST
            except (OSError, http.client.HTTPException):
                return False
            finally:
                connection.close()


@dataclass(slots=True)
class Running:
    """A container of a Pod with its probes."""

    container: Container
    probes: dict[str, Probe]
    ended: float | None = None

    def start(self) -> None:
        """Start it, or start it again."""
        self.ended = None
        self.container.start()
        for probe in self.probes.values():
            probe.started()

    def look(self) -> bool | None:
        """Restart it when it has ended or its livenessProbe has failed. What a due readinessProbe says, if one was due."""
        now = time.monotonic()
        if not self.container.is_running():
            self.ended = self.ended or now
            if now >= self.ended + RESTART_DELAY:
                self.start()
            return False
        liveness, readiness = self.probes.get("livenessProbe"), self.probes.get("readinessProbe")
        if liveness and now >= liveness.due and not liveness.run() and liveness.has_failed:
            self.container.remove()
            return False
        return readiness.run() if readiness and now >= readiness.due else None


class Pod(threading.Thread):
    """One Pod on its node, from its volumes to its end; a thread."""

    def __init__(self, spec: Object, kubelet: "Kubelet") -> None:
        meta = spec["metadata"]
        super().__init__(name=meta["name"], daemon=True)
        self.spec, self.uid, self.path = spec["spec"], meta["uid"], f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        self.node = self.spec["nodeName"]
        self.meta = meta
        self.error: BaseException | None = None
        self.containers: dict[str, Running] = {}
        self._kubelet = kubelet
        self._directory = kubelet.directory / meta["name"]
        self._volumes: dict[str, Path] = {}
        self._grace: float | None = None
        self._killed = threading.Event()

    def end(self, grace: float) -> None:
        """Have it end in order, with so many seconds of grace."""
        self._grace = grace

    def lose_power(self) -> None:
        """Kill all its processes at once, for good; the API server is told nothing."""
        self._killed.set()
        for running in self.containers.values():
            running.container.signal(signal.SIGKILL)

    def run(self) -> None:
        """Its whole life."""
        try:
            self._live()
        except BaseException as err:
            self.error = err
            raise
        finally:
            for running in self.containers.values():
                running.container.remove()
            for volume in self._volumes.values():
                run_command("umount", str(volume))

    def _live(self) -> None:
        self._make_volumes()
        sidecars = [self._container(spec) for spec in self.spec.get("initContainers", ())]
        mains = [self._container(spec) for spec in self.spec["containers"]]
        for running in (*sidecars, *mains):
            running.start()
            self._wait_started(running)
        ready: bool | None = None
        while self._grace is None and not self._killed.wait(LOOK):
            said = [running.look() for running in (*sidecars, *mains)]
            now_ready = False if False in said else True if True in said else ready
            if now_ready != ready:
                ready = now_ready
                self._tell(bool(ready))
        if not self._killed.is_set():
            end = time.monotonic() + (self._grace or 0)
            self._terminate(mains, end)
            self._terminate(sidecars, end)
            with suppress(OSError):
                self._kubelet.api("DELETE", self.path, {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}})

    def _wait_started(self, running: Running) -> None:
        """Wait until its startupProbe succeeds, and start it again when that has failed too often."""
        probe = running.probes.get("startupProbe")
        while probe and self._grace is None and not self._killed.wait(LOOK):
            if not running.container.is_running() or probe.has_failed:
                running.container.remove()
                running.start()
            if time.monotonic() >= probe.due and probe.run():
                return

    def _terminate(self, group: Sequence[Running], end: float) -> None:
        for running in group:
            running.container.signal(signal.SIGTERM)
        for running in group:
            while running.container.is_running() and time.monotonic() < end:
                time.sleep(LOOK / 10)
            if running.container.is_running():
                running.container.signal(signal.SIGKILL)

    def _tell(self, ready: bool) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        word = "True" if ready else "False"
        conditions = [{"type": kind, "status": word, "lastTransitionTime": now} for kind in ("Ready", "ContainersReady")]
        self._kubelet.api("PATCH", f"{self.path}/status", {"status": {"phase": "Running", "startTime": now, "conditions": conditions}})

    # -- what it is made of

    def _container(self, spec: Object) -> Running:
        _refuse_unknown(spec, KNOWN_OF_CONTAINER, f"container {spec['name']}")
        mounts = [Mount(self._volumes[m["name"]], m["mountPath"], m.get("readOnly", False)) for m in spec.get("volumeMounts", ())]
        container = Container(
            name=f"{self.name}-{spec['name']}",
            directory=self._directory / spec["name"],
            state=self._kubelet.directory / ".crun",
            image=self._kubelet.image,
            namespace=self._kubelet.nodes[self.node],
            command=[*spec["command"], *spec.get("args", ())],
            environment={**self._kubelet.environment, **{item["name"]: self._value(item) for item in spec.get("env", ())}},
            mounts=mounts,
            security=Security.of(self.spec.get("securityContext", {}), spec.get("securityContext", {})),
        )
        probes = {kind: Probe(spec[kind], container) for kind in ("startupProbe", "livenessProbe", "readinessProbe") if kind in spec}
        self.containers[spec["name"]] = Running(container, probes)
        return self.containers[spec["name"]]

    def _value(self, item: Object) -> str:
        return str(item["value"]) if "value" in item else self._field(item["valueFrom"]["fieldRef"]["fieldPath"])

    def _field(self, path: str) -> str:
        value: Any = {"metadata": self.meta, "spec": self.spec}
        for name in path.split("."):
            value = value[name]
        return str(value)

    def _make_volumes(self) -> None:
        group = self.spec.get("securityContext", {}).get("fsGroup", 0)
        for volume in self.spec.get("volumes", ()):
            place = self._volumes[volume["name"]] = self._directory / "volumes" / volume["name"]
            place.mkdir(parents=True)
            size = volume.get("emptyDir", {}).get("sizeLimit", "1Mi")
            run_command("mount", "-t", "tmpfs", "-o", f"mode=2777,gid={group},size={size.removesuffix('i')}", "volume", str(place))
            if "projected" in volume:
                self._project(place, volume["projected"], group)
            elif "emptyDir" not in volume:
                raise NotImplementedError(f"Pod {self.name}: volume {volume}")

    def _project(self, place: Path, projected: Object, group: int) -> None:
        namespace = f"/api/v1/namespaces/{self.meta['namespace']}"
        for source in projected["sources"]:
            files: dict[str, str] = {}
            if "serviceAccountToken" in source:
                bound = {"kind": "Pod", "apiVersion": "v1", "name": self.name, "uid": self.uid}
                asked = {"spec": {"expirationSeconds": TOKEN_SECONDS, "boundObjectRef": bound}}
                answer = self._kubelet.api("POST", f"{namespace}/serviceaccounts/{self.spec['serviceAccountName']}/token", asked)
                files[source["serviceAccountToken"]["path"]] = answer["status"]["token"]
            if "configMap" in source:
                content = self._kubelet.api("GET", f"{namespace}/configmaps/{source['configMap']['name']}", None)["data"]
                files |= {item["path"]: content[item["key"]] for item in source["configMap"]["items"]}
            if "downwardAPI" in source:
                files |= {item["path"]: self._field(item["fieldRef"]["fieldPath"]) for item in source["downwardAPI"]["items"]}
            for name, text in files.items():
                (place / name).write_text(text)
                (place / name).chmod(projected["defaultMode"])
                shutil.chown(place / name, 0, group)


class Kubelet(threading.Thread):
    """The kubelets of all nodes, and the scheduler of Pods that name their node by affinity, as a DaemonSet's do; a thread.

    ``server`` is the API server's host and port, as a Pod on the host network reaches it.
    """

    def __init__(self, nodes: Mapping[str, Namespace], api: Api, server: tuple[str, int], image: Image, directory: Path) -> None:
        super().__init__(name="kubelet", daemon=True)
        require_private_place()
        leave_hybrid_cgroups()
        self.nodes, self.api, self.image, self.directory = nodes, api, image, directory
        self.environment = {"KUBERNETES_SERVICE_HOST": server[0], "KUBERNETES_SERVICE_PORT": str(server[1])}
        self.pods: dict[str, Pod] = {}
        self._done = threading.Event()

    def register(self) -> None:
        """Make the Nodes, ready, and free of the taint that new ones get until the node lifecycle controller has seen them ready."""
        for name in self.nodes:
            labels = {"kubernetes.io/os": "linux", "kubernetes.io/hostname": name}
            self.api("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
            self.api("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": None}})
            self.api("PATCH", f"/api/v1/nodes/{name}/status", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})

    def run(self) -> None:
        """Serve until ``stop``."""
        while not self._done.wait(LOOK):
            with suppress(OSError):
                self._look()

    def on(self, node: str) -> Pod:
        """The youngest Pod on a node; LookupError when it has none."""
        found = [pod for pod in self.pods.values() if pod.node == node and pod.is_alive()]
        if not found:
            raise LookupError(f"no Pod runs on {node}")
        return found[-1]

    def stop(self) -> None:
        """End every Pod, at once, and the thread."""
        self._done.set()
        self.join()
        for pod in self.pods.values():
            pod.lose_power()
        for pod in self.pods.values():
            pod.join()

    def _look(self) -> None:
        for spec in self.api("GET", "/api/v1/pods", None)["items"]:
            meta = spec["metadata"]
            known = self.pods.get(meta["uid"])
            if "nodeName" not in spec["spec"]:
                self._bind(spec)
            elif known is None and "deletionTimestamp" not in meta:
                _refuse_unknown(spec["spec"], KNOWN, f"Pod {meta['name']}")
                self.pods[meta["uid"]] = Pod(spec, self)
                self.pods[meta["uid"]].start()
            elif known is not None and "deletionTimestamp" in meta:
                known.end(meta.get("deletionGracePeriodSeconds", 0))

    def _bind(self, spec: Object) -> None:
        terms = spec["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        node = terms[0]["matchFields"][0]["values"][0]
        meta = spec["metadata"]
        binding = {"metadata": {"name": meta["name"]}, "target": {"kind": "Node", "name": node}}
        self.api("POST", f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/binding", binding)


def _refuse_unknown(spec: Object, known: frozenset[str], what: str) -> None:
    if unknown := set(spec) - known:
        raise NotImplementedError(f"{what}: this kubelet knows nothing of {', '.join(sorted(unknown))}")
