"""A full disk under the embedded cluster: said once, nobody answers beyond the fence, and all is well when there is room again."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from netlab.segment import Segment
from netlab.waiting import wait_until

from tests.netns.agents_stand import ADDRESSES, API, FENCE_SECONDS, PATIENCE, SHOP, SLACK, WEB, Cluster

pytestmark = pytest.mark.netns

NODES = ("n1", "n2")


@pytest.fixture
def cluster(segment: Segment, tmp_path: Path) -> Iterator[Cluster]:
    """Two agents whose manifests are on a file system of 256 KiB."""
    made = Cluster(segment, tmp_path)
    made.manifests.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=256k", "small", str(made.manifests)), check=True)
    try:
        made.write_usual(*NODES)
        made.start(*NODES)
        yield made
    finally:
        made.close()
        subprocess.run(("umount", "--lazy", str(made.manifests)), check=True)


def fill(directory: Path) -> Path:
    """Take every octet that is left."""
    filling = directory / ".filling"
    with filling.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1024)):
            pass
    assert not shutil.disk_usage(directory).free
    return filling


def complaints(cluster: Cluster, node: str) -> list[str]:
    told = [entry for entry in cluster.log_entries(node) if entry["message"] == "lease not written"]
    return [entry["why"] for entry in told if entry["level"] == "warning"]


def test_a_full_disk_fences_and_heals(cluster: Cluster) -> None:
    holders = cluster.settled(WEB, API, SHOP)
    addresses = [address for found in ADDRESSES.values() for address in found]
    asker = cluster.ask(*addresses)
    for key, found in ADDRESSES.items():
        asker.wait_answer(found[0], cluster.mac(holders[key]))
    filling = fill(cluster.manifests)
    full_at = time.time()

    def silent() -> bool:
        since = time.time()
        asker.wait_asked(20)
        return not any(asker.of(address, since) for address in addresses)

    wait_until(silent, PATIENCE, "every answer to end")
    last = max(answer.at for address in addresses for answer in asker.of(address))
    assert last < full_at + FENCE_SECONDS + SLACK
    for node in set(holders.values()):
        assert cluster.agents[node].is_running(), cluster.agents[node].last_words()
        assert any("No space left on device" in why and "/manifests/" in why for why in complaints(cluster, node)), "path and reason"
        assert len(complaints(cluster, node)) <= 2, "not once for each lease and try"
    filling.unlink()
    again = time.time()
    for address in addresses:
        wait_until(lambda address=address: asker.of(address, again), PATIENCE, f"an answer for {address}")  # type: ignore[misc]
    holders = cluster.settled(WEB, API, SHOP)
    for node in set(holders.values()):
        wait_until(lambda node=node: "leases are written again" in cluster.log(node), PATIENCE, f"{node} to say so")  # type: ignore[misc]
