"""LB-IPAM on manifests: what comes, statuses that are written for one version only, what agents see of them; and the whole program."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path

import pytest
from netlab.waiting import WaitTimeout, wait_until

from l2announce.errors import ApiError, ConfigurationError
from l2announce.ipam.ports import PoolsSeen, Seen, ServiceSeen, ServicesSeen
from l2announce.manifests.cluster import ManifestCluster
from l2announce.manifests.pools import ManifestPools, read_pools
from l2announce.model.conditions import Condition
from l2announce.model.events import EventReason, ServiceEvent
from l2announce.model.objects import NamespacedName
from l2announce.model.pools import BalancedService, Block

PATIENCE = 30.0
WEB = NamespacedName("default", "web")
FIRST = ip_address("192.0.2.1")
SATISFIED = Condition("cilium.io/IPAMRequestSatisfied", "True", "satisfied", "", 0, "2026-01-01T00:00:00Z")
POOL = """apiVersion: cilium.io/{version}
kind: CiliumLoadBalancerIPPool
metadata: {{name: {name}}}
spec: {{{field}: [{{cidr: 192.0.2.0/24}}]}}
"""
SERVICE = """apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}
"""


def pool(name: str = "all", version: str = "v2", field: str = "blocks") -> str:
    return POOL.format(name=name, version=version, field=field)


def service(name: str = "web") -> str:
    return SERVICE.format(name=name)


class View:
    """What one operator sees, as it comes."""

    def __init__(self, directory: Path) -> None:
        self.objects = ManifestPools(directory)
        self._changes: AsyncIterator[Seen] = self.objects.changes()

    async def until(self, found: Callable[[Seen], bool]) -> Seen:
        """The next change of this sort."""

        async def search() -> Seen:
            async for seen in self._changes:
                if found(seen):
                    return seen
            raise AssertionError("the changes never end")

        return await asyncio.wait_for(search(), PATIENCE)

    async def service(self, key: NamespacedName = WEB) -> BalancedService | None:
        """The Service as it is next seen."""
        seen = await self.until(lambda seen: isinstance(seen, ServicesSeen) or (isinstance(seen, ServiceSeen) and seen.key == key))
        if isinstance(seen, ServicesSeen):
            return next(one for one in seen.services if one.key == key)
        assert isinstance(seen, ServiceSeen)
        return seen.service

    async def one(self) -> BalancedService:
        """WEB, which is there."""
        found = await self.service()
        assert found is not None
        return found


def play(story: Callable[[View], Awaitable[None]], directory: Path) -> None:
    asyncio.run(_awaited(story(View(directory))))


async def _awaited(work: Awaitable[None]) -> None:
    await work


@pytest.mark.parametrize(("version", "field"), [("v2", "blocks"), ("v2alpha1", "blocks"), ("v2alpha1", "cidrs")])
def test_pools_and_services_come_and_change(tmp_path: Path, version: str, field: str) -> None:
    (tmp_path / "a.yaml").write_text(pool(version=version, field=field) + "---\n" + service())

    async def story(view: View) -> None:
        seen = await view.until(lambda seen: isinstance(seen, PoolsSeen))
        assert isinstance(seen, PoolsSeen)
        assert [(one.name, one.blocks) for one in seen.pools] == [("all", (Block("192.0.2.0/24"),))]
        web = await view.one()
        assert (web.version, web.ingress, web.type) == ("", (), "LoadBalancer")
        (tmp_path / "b.yaml").write_text(service("mail"))
        assert await view.service(NamespacedName("default", "mail")) is not None
        (tmp_path / "b.yaml").unlink()
        assert await view.service(NamespacedName("default", "mail")) is None

    play(story, tmp_path)


def test_a_status_is_written_for_the_version_that_was_read_only(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service())

    async def story(view: View) -> None:
        old = await view.one()
        await view.objects.write_service(old, (FIRST,), (SATISFIED,))
        with pytest.raises(ApiError) as caught:
            await view.objects.write_service(old, (ip_address("192.0.2.2"),), ())
        assert caught.value.code == 409
        new = await view.one()
        assert (new.ingress, new.condition, new.conditions) == ((FIRST,), SATISFIED, (SATISFIED,))
        await view.objects.write_service(new, (), ())
        assert (await view.one()).ingress == ()
        with pytest.raises(ApiError):
            await view.objects.write_service(new, (FIRST,), ())
        assert read_pools(tmp_path)[1][0].ingress == ()

    play(story, tmp_path)


def test_who_slept_while_a_service_went_and_came_back_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(service())

    async def story(view: View) -> None:
        never_written = await view.one()
        await view.objects.write_service(never_written, (FIRST,), (SATISFIED,))
        written = await view.one()
        file.unlink()
        assert await view.service() is None
        await view.objects.forget_gone()
        file.write_text(service())
        again = await view.until(lambda seen: isinstance(seen, ServiceSeen) and seen.service is not None and not seen.service.ingress)
        assert isinstance(again, ServiceSeen)
        assert again.service is not None
        for sleeper in (never_written, written):
            with pytest.raises(ApiError):
                await view.objects.write_service(sleeper, (FIRST,), ())
        await view.objects.write_service(again.service, (FIRST,), ())

    play(story, tmp_path)


def test_a_broken_file_costs_no_service_its_address(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(service())

    async def first(view: View) -> None:
        await view.objects.write_service(await view.one(), (FIRST,), (SATISFIED,))

    async def second(view: View) -> None:
        assert await view.until(lambda seen: isinstance(seen, ServicesSeen)) == ServicesSeen(())
        assert [problem.reason for problem in view.objects.problems] == ["BrokenFile"]
        await view.objects.forget_gone()
        file.write_text(service())
        assert (await view.one()).ingress == (FIRST,)
        assert view.objects.problems == ()

    play(first, tmp_path)
    file.write_text("kind: [")
    play(second, tmp_path)


def test_conditions_of_pools_stay_and_go_with_them(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(pool() + "---\n" + pool("other"))
    place = tmp_path / ".cluster" / "status" / "ciliumloadbalancerippools"
    conflict = Condition("cilium.io/PoolConflict", "True", "cidr_overlap", "overlaps", 0, "2026-01-01T00:00:00Z")

    async def first(view: View) -> None:
        await view.until(lambda seen: isinstance(seen, PoolsSeen))
        for name in ("all", "other"):
            await view.objects.write_pool(name, (conflict,))

    async def second(view: View) -> None:
        seen = await view.until(lambda seen: isinstance(seen, PoolsSeen))
        assert isinstance(seen, PoolsSeen)
        assert [(one.name, one.conditions) for one in seen.pools] == [("all", (conflict,))]
        await view.objects.forget_gone()

    play(first, tmp_path)
    assert sorted(path.name for path in place.iterdir()) == ["all.yaml", "other.yaml"]
    (tmp_path / "a.yaml").write_text(pool())
    play(second, tmp_path)
    assert [path.name for path in place.iterdir()] == ["all.yaml"]


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(pool() + "---\n" + service())

    async def story(view: View) -> None:
        web = await view.one()
        (tmp_path / ".cluster" / "status").write_text("in the way")
        with pytest.raises(ApiError, match="must be writable"):
            await view.objects.write_pool("all", ())
        (tmp_path / ".cluster" / "services").rmdir()
        (tmp_path / ".cluster" / "services").write_text("in the way")
        with pytest.raises(ApiError, match="must be there and writable"):
            await view.objects.write_service(web, (FIRST,), ())

    play(story, tmp_path)


def test_a_status_that_was_removed_by_hand_is_a_conflict(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service())

    async def story(view: View) -> None:
        await view.objects.write_service(await view.one(), (FIRST,), ())
        web = await view.one()
        (tmp_path / ".cluster" / "services").rename(tmp_path / "away")
        with pytest.raises(ApiError) as caught:
            await view.objects.write_service(web, (), ())
        assert caught.value.code == 409

    play(story, tmp_path)


def test_events_are_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    event = ServiceEvent(WEB, "", EventReason.ADDRESS_REFUSED, "out_of_ips: full")
    assert asyncio.run(ManifestPools(tmp_path).publish(event))
    assert "out_of_ips: full" in caplog.text


def test_an_agent_sees_the_addresses_that_were_given(tmp_path: Path) -> None:
    status = "status: {loadBalancer: {ingress: [{ip: 192.0.2.9}]}}\n"
    (tmp_path / "a.yaml").write_text(service() + status + "---\n" + service("by-hand") + status)

    async def story() -> None:
        view = View(tmp_path)
        states = ManifestCluster(tmp_path).states()

        async def addresses(key: NamespacedName, *wanted: str) -> None:
            async for state in states:
                if [str(one) for one in state.services[key].load_balancer_ips] == list(wanted):
                    return

        await asyncio.wait_for(addresses(WEB, "192.0.2.9"), PATIENCE)
        await view.objects.write_service(await view.one(), (FIRST,), (SATISFIED,))
        await asyncio.wait_for(addresses(WEB, "192.0.2.1"), PATIENCE)
        await view.objects.write_service(await view.one(), (), ())
        await asyncio.wait_for(addresses(WEB), PATIENCE)

    asyncio.run(story())


def test_reading_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(pool() + "---\n" + service() + "---\nkind: Service\napiVersion: v1\nmetadata: {name: A}\n")
    pools, services, problems = read_pools(tmp_path)
    assert ([one.name for one in pools], [str(one.key) for one in services]) == (["all"], ["default/web"])
    assert [problem.reason for problem in problems] == ["BadName"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    async def story(view: View) -> None:
        with pytest.raises(ConfigurationError, match="is not a directory"):
            await view.one()

    play(story, tmp_path / "gone")


class Programs:
    """``l2announce operator``, several times on one directory. A context manager, which kills them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Programs":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def start(self, identity: str) -> subprocess.Popen[bytes]:
        """Start one; its lease lasts three seconds."""
        program = str(Path(sys.executable).with_name("l2announce"))
        timing = ("--lease-duration", "3s", "--lease-renew-deadline", "1s", "--lease-retry-period", "300ms")
        command = (program, "operator", "--manifests", str(self._directory), "--identity", identity, "--metrics-address", "none", *timing)
        self._processes.append(subprocess.Popen(command))
        return self._processes[-1]

    def addresses(self) -> dict[str, list[str]]:
        """What each Service has."""
        return {one.key.name: [str(address) for address in one.ingress] for one in read_pools(self._directory)[1]}

    def wait(self, **wanted: list[str]) -> None:
        """Wait until the Services have these addresses."""
        seen: list[dict[str, list[str]]] = []

        def are_so() -> bool:
            seen.append(self.addresses())
            return seen[-1] == wanted

        try:
            wait_until(are_so, PATIENCE, f"the addresses to be {wanted}")
        except WaitTimeout as err:
            raise AssertionError(f"{err}: they are {seen[-1]}") from err


def test_the_next_operator_goes_on_and_one_that_wakes_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "pool.yaml").write_text(pool())
    (tmp_path / "web.yaml").write_text(service())
    with Programs(tmp_path) as programs:
        first = programs.start("first")
        programs.wait(web=["192.0.2.0"])
        first.send_signal(signal.SIGSTOP)
        second = programs.start("second")
        (tmp_path / "mail.yaml").write_text(service("mail"))
        programs.wait(web=["192.0.2.0"], mail=["192.0.2.1"])
        first.send_signal(signal.SIGCONT)
        (tmp_path / "web.yaml").unlink()
        (tmp_path / "news.yaml").write_text(service("news"))
        programs.wait(mail=["192.0.2.1"], news=["192.0.2.0"])
        second.terminate()
        assert second.wait(PATIENCE) == 0
        (tmp_path / "shop.yaml").write_text(service("shop"))
        programs.wait(mail=["192.0.2.1"], news=["192.0.2.0"], shop=["192.0.2.2"])
        first.terminate()
        assert first.wait(PATIENCE) == 0
