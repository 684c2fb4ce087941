"""What is fuzzed: each target takes octets and raises when a promise is broken. Nothing here knows the fuzzer."""

import itertools
import json
import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import yaml
from netlab import bpf_machine
from netlab.frames import internet_checksum

from l2announce.cli.captures import read_capture
from l2announce.cli.claims_file import read_claims
from l2announce.errors import ChannelError, ConfigurationError, DecodeError
from l2announce.manifests.documents import TextError
from l2announce.manifests.loader import load_text
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.link import Link
from l2announce.responder.batch import ADVERTISEMENT_FRAME_LENGTH, ADVERTISEMENT_SLOT, ARP_SLOT, NDP_SLOT, answer_arp, answer_ndp
from l2announce.responder.engine import Responder
from l2announce.responder.verdict import Verdict
from l2announce.wire import schema
from l2announce.wire.arp import FRAME_LENGTH
from l2announce.wire.bpf import arp_filter, ndp_filter
from l2announce.wire.fields import ObjectError
from l2announce.wire.leases import decode_lease, encode_lease
from l2announce.wire.messages import Assembler, encode_claims, encode_report
from l2announce.wire.objects import KINDS
from l2announce.wire.rtnetlink import decode_messages
from tests.fuzz.oracle import ARP, IPV6, asked_for

MAC, ASKER = bytes.fromhex("020000000001"), bytes.fromhex("02000000000c")
IFINDEX = 1
VIP4, VIP6 = IPv4Address("10.99.0.10"), IPv6Address("fd99::10")
LAPSED4, LAPSED6 = IPv4Address("10.99.0.11"), IPv6Address("fd99::11")
NOW = 10.0
GOLDEN = Path(__file__).parents[1] / "golden"
POLICIES = Path(__file__).parents[2] / "policies"


def require(promise: bool, what: str) -> None:
    """A promise that must hold."""
    if not promise:
        raise AssertionError(what)


def _responder() -> Responder:
    """Owns VIP4 and VIP6; LAPSED4 and LAPSED6 until just now."""
    responder = Responder()
    responder.replace_links([Link(IFINDEX, "eth0", MAC)], 0.0)
    claims = [*(Claim(each, frozenset({"eth0"}), 100.0) for each in (VIP4, VIP6))]
    claims += [Claim(each, frozenset({"eth0"}), NOW) for each in (LAPSED4, LAPSED6)]
    responder.replace_claims(ClaimSet(1, tuple(claims)), 0.0)
    return responder


def _replies(responder: Responder, frame: bytes) -> list[bytes]:
    """What the batch path sends for one frame, as a packet socket hands it over."""
    ipv6 = frame[12:14] == IPV6
    slot = NDP_SLOT if ipv6 else ARP_SLOT
    frame = frame[:slot]
    answer, reply_slot, length = (
        (answer_ndp, ADVERTISEMENT_SLOT, ADVERTISEMENT_FRAME_LENGTH) if ipv6 else (answer_arp, ARP_SLOT, FRAME_LENGTH)
    )
    octets = answer(responder, frame.ljust(slot, b"\0"), [len(frame)], IFINDEX, NOW)
    return [octets[at : at + length] for at in range(0, len(octets), reply_slot)] + [one.frame for one in responder.frames_to_send()]


def frames(octets: bytes) -> None:
    """Any frame, and again with its ICMPv6 checksum put right, which no fuzzer guesses."""
    _frame(octets)
    if octets[12:14] == IPV6 and (right := _with_checksum(octets)) != octets:
        _frame(right)


def _with_checksum(frame: bytes) -> bytes:
    length = int.from_bytes(frame[18:20], "big")
    if not 4 <= length <= len(frame) - 54:
        return frame
    message = frame[54:56] + b"\0\0" + frame[58 : 54 + length]
    total = internet_checksum(frame[22:54] + struct.pack("!II", length, 58) + message + bytes(length % 2))
    return frame[:56] + total.to_bytes(2, "big") + frame[58:]


def _frame(octets: bytes) -> None:
    """Answered when, and only when, an independent reader says that it asks for what we own; both paths say the same."""
    one, batch = _responder(), _responder()
    verdict = one.receive_frame(octets, IFINDEX, NOW)
    sent = [transmit.frame for transmit in one.frames_to_send()]
    target = asked_for(octets, MAC)
    owned = target is not None and target in (VIP4.packed, VIP6.packed)
    require((verdict is Verdict.ANSWERED) == owned, f"{verdict} for {octets.hex()}, which asks for {target and target.hex()}")
    require(len(sent) == owned, f"{len(sent)} replies")
    for reply in sent:
        require(reply[6:12] == MAC, "a reply from another hardware address")
        require(target is not None and target in reply, "a reply that does not tell of the target")
    if len(octets) <= (NDP_SLOT if octets[12:14] == IPV6 else ARP_SLOT):
        require(_replies(batch, octets) == sent, f"one by one {sent}, in a batch something else, for {octets.hex()}")
        require(+batch.verdicts == +one.verdicts, "the batch counts another verdict")


_FILTERS = {ARP: arp_filter([VIP4, LAPSED4], IFINDEX, 4096), IPV6: ndp_filter([VIP6, LAPSED6], IFINDEX, 4096)}


def filters(octets: bytes) -> None:
    """Any frame: what the socket's filter drops is not answered."""
    kernel = _FILTERS.get(octets[12:14])
    if kernel is not None:
        accepted, _ = bpf_machine.run(kernel.program, octets, IFINDEX, 0)
        if not accepted:
            verdict = _responder().receive_frame(octets, IFINDEX, NOW)
            require(verdict not in (Verdict.ANSWERED, Verdict.EXPIRED), f"the filter drops {octets.hex()}: {verdict}")


def channel(octets: bytes) -> None:
    """Any datagram, also several of one message: messages or ChannelError; what is decoded is encoded to the same meaning."""
    assembler = Assembler()
    size = 1 + (octets[0] if octets else 0) * 16
    try:
        for piece in itertools.chain([octets], (octets[at : at + size] for at in range(1, len(octets), size))):
            for message in assembler.feed(piece):
                encoded = encode_claims(message) if isinstance(message, ClaimSet) else encode_report(message)
                again = Assembler()
                decoded = [each for datagram in encoded for each in again.feed(datagram)]
                require(decoded == [message] or "nan" in repr(message), f"{message} became {decoded}")
    except ChannelError:
        pass


def netlink(octets: bytes) -> None:
    """Any datagram of rtnetlink: messages or DecodeError."""
    try:
        for _ in decode_messages(octets):
            pass
    except DecodeError:
        pass


def objects(octets: bytes) -> None:
    """Any file of manifests: objects, problems with a line each, or TextError."""
    name = "file.json" if octets[:1] == b"{" else "file.yaml"
    try:
        loaded = load_text(name, octets, KINDS)
    except TextError:
        return
    for problem in loaded.problems:
        require("\n" not in problem.message and problem.reason.isalnum(), f"not one line: {problem}")


def leases(octets: bytes) -> None:
    """Any Lease: one that is written and read again is the same."""
    try:
        lease = decode_lease(octets)
    except ObjectError:
        return
    try:
        again = decode_lease(encode_lease(lease, "kube-system"))
    except UnicodeEncodeError:
        return
    require(again == lease, f"{lease} became {again}")


_SCRATCH = TemporaryDirectory()


def claims(octets: bytes) -> None:
    """Any CLAIMS.yaml: claims, or one line that begins with the file."""
    path = Path(_SCRATCH.name) / "claims.yaml"
    path.write_bytes(octets)
    try:
        read_claims(path)
    except ConfigurationError as err:
        require(str(err).startswith(str(path)) and "\n" not in str(err), f"not one line that names the file: {err}")


def captures(octets: bytes) -> None:
    """Any capture: frames, or one line that names the file."""
    path = Path(_SCRATCH.name) / "in.pcap"
    path.write_bytes(octets)
    try:
        for _ in read_capture(path):
            pass
    except ConfigurationError as err:
        require(str(path) in str(err) and "\n" not in str(err), f"not one line that names the file: {err}")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "frames": frames,
    "filters": filters,
    "channel": channel,
    "netlink": netlink,
    "objects": objects,
    "leases": leases,
    "claims": claims,
    "captures": captures,
}


def seeds(target: str) -> Iterator[bytes]:
    """What a target begins with: the golden corpus, the examples, and one of each message."""
    if target in ("frames", "filters"):
        for path in sorted(GOLDEN.glob("*/in.pcap")):
            yield from (record.frame for record in read_capture(path))
    elif target == "channel":
        responder = _responder()
        responder.receive_frame(b"\xff" * 6 + ASKER + b"\x08\x06", IFINDEX, NOW)
        yield from encode_report(responder.report(NOW, ("a problem",)))
        yield from encode_claims(ClaimSet(7, (Claim(VIP4, frozenset({"eth0"}), 1.0, True), Claim(VIP6, frozenset({"eth0", "b"}), 2.0))))
    elif target == "netlink":
        yield b"\x20\0\0\0\x10\0\0\0\1\0\0\0\0\0\0\0" + b"\0\0\1\0\2\0\0\0\x43\x10\1\0" + b"\0\0\0\0"
    elif target == "objects":
        for path in sorted(POLICIES.rglob("*.yaml")):
            yield path.read_bytes()
        for kind in ("Node", "Service", "EndpointSlice"):
            yield yaml.safe_dump({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a", "namespace": "b"}}).encode()
    elif target == "leases":
        yield json.dumps({"kind": "Lease", "metadata": {"name": "a"}, "spec": {"holderIdentity": "n", "leaseDurationSeconds": 15}}).encode()
    else:
        for path in sorted(GOLDEN.glob("*/claims.yaml" if target == "claims" else "*/in.pcap")):
            yield path.read_bytes()


def words() -> Iterator[str]:
    """What files are made of, which no fuzzer guesses: fields, kinds, values."""
    for made in vars(schema).values():
        if isinstance(made, type) and issubclass(made, msgspec.Struct):
            yield made.__name__
            yield from (field.encode_name for field in msgspec.structs.fields(made))
    yield from ("claims", "links", "peers", "address", "interfaces", "deadline", "probe", "mac", "index", "link_local", "answer_limit")
    yield from (
        "10.99.0.10",
        "fd99::10",
        "02:00:00:00:00:01",
        "eth0",
        "LoadBalancer",
        "Local",
        "DoesNotExist",
        "true",
        "null",
        "2024-13-01",
    )
    yield from ("v1", "cilium.io/v2alpha1", "coordination.k8s.io/v1", "discovery.k8s.io/v1", "&a", "*a", "!!float", "---", "0x", "1e999")
