"""The responder: claims, links, frames and ``now`` in; verdicts and frames to send out. Sans-IO: it has no socket and reads no clock.

The path of a frame begins in responder/batch.py, which answers well-formed requests from prepared octets and hands every other frame to
``Responder.receive_frame``, which decodes it whole and says why it is, or is not, answered.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv6Address
from itertools import chain

from l2announce.errors import DecodeError
from l2announce.model.address import FOREVER, NEVER, Address, Instant, solicited_node_multicast
from l2announce.model.claim import NO_CLAIMS, Claim, ClaimSet
from l2announce.model.link import Link
from l2announce.model.report import Report
from l2announce.model.timing import PROBE_COUNT
from l2announce.responder.announce import AnnouncementSchedule
from l2announce.responder.answers import Answer, LinkAnswers
from l2announce.responder.frames import Transmit, announcement_frames, probe_frame
from l2announce.responder.holding import HoldProbes
from l2announce.responder.limit import AnswerLimit
from l2announce.responder.records import answer_records, conflict_records, forget_reports
from l2announce.responder.verdict import Verdict
from l2announce.wire import arp, icmpv6
from l2announce.wire.ethernet import (
    ETH_P_ARP,
    ETH_P_IPV6,
    HEADER_LENGTH,
    VLAN_TYPES,
    EthernetHeader,
    decode_ethernet,
    is_group,
    without_priority_tag,
)


class Responder:
    """Answers and announces the claimed addresses, each until its deadline, on the claimed links, with the link's present MAC."""

    def __init__(self) -> None:
        self.verdicts: Counter[Verdict] = Counter()
        self.links: dict[int, LinkAnswers] = {}
        self._claims: ClaimSet = NO_CLAIMS
        self._claimed: frozenset[Address] = frozenset()
        self._generation = -1
        self._next_deadline: Instant = NEVER
        self._schedule = AnnouncementSchedule()
        self._holds = HoldProbes()
        self._own_macs: frozenset[bytes] = frozenset()
        self._to_probe: set[Address] = set()
        self._probed: set[Address] = set()
        self._disputed: set[tuple[int, Address]] = set()
        self._announcements = 0
        self._outbox: list[Transmit] = []

    # -- what to answer

    def replace_claims(self, claims: ClaimSet, now: Instant) -> None:
        """Obey ``claims`` from now on and nothing else. What is newly answered is announced."""
        self._claims = claims
        self._generation = claims.generation
        self._next_deadline = NEVER
        self._claimed = frozenset(claim.address for claim in claims.claims)
        self._probed &= self._claimed
        self._to_probe = {claim.address for claim in claims.claims if claim.probe} - self._probed if claims.probe_wait else set()
        self._schedule.set_refresh(claims.refresh_interval, now)
        for answers in self.links.values():
            answers.limit.rate = claims.answer_limit
            self._fill(answers, now)

    def replace_links(self, links: Iterable[Link], now: Instant) -> None:
        """Obey the present state of the links. A link that appears, gets carrier or another MAC or name announces what it answers."""
        present = {link.index: link for link in links}
        self._own_macs = frozenset(link.mac for link in present.values())
        for index in self.links.keys() - present.keys():
            self._forget(self.links.pop(index))
            self._schedule.forget_link(index)
        for index, link in present.items():
            self._place(index, link, now)

    def _place(self, index: int, link: Link, now: Instant) -> None:
        answers = self.links.get(index)
        revision = 0
        if answers is not None and (answers.link.name, answers.link.mac) != (link.name, link.mac):
            self._forget(answers)
            tables = (answers.ipv4, answers.ipv6)
            self._to_probe |= {one.address for table in tables for one in table.values() if one.probes is not None}
            revision = answers.revision + 1
            answers = None
        if answers is None:
            answers = self.links[index] = LinkAnswers(link, revision=revision, limit=AnswerLimit(self._claims.answer_limit))
            self._fill(answers, now)
            return
        had_carrier = answers.link.carrier
        answers.refresh(link)
        if link.carrier and not had_carrier:
            for answer in (*answers.ipv4.values(), *answers.ipv6.values()):
                self._begin(index, answer, now)

    def _begin(self, index: int, answer: Answer, now: Instant) -> None:
        """Announce an address from now on; one that is held back is probed for first."""
        if answer.probes is not None:
            answer.probes = 0
        self._schedule.start(index, answer.address, now)

    def _forget(self, answers: LinkAnswers) -> None:
        for answer in (*answers.ipv4.values(), *answers.ipv6.values()):
            self._stop(answers.link.index, answer.address)

    def _stop(self, index: int, address: Address) -> None:
        self._schedule.stop(index, address)
        self._holds.stop(index, address)

    def _fill(self, answers: LinkAnswers, now: Instant) -> None:
        """Make the answers of one link those that the claims want: keep what stays, announce what is new or was lapsed."""
        link = answers.link
        wanted = self._claims_on(link.name)
        for table in (answers.ipv4, answers.ipv6):
            for octets in [octets for octets, answer in table.items() if answer.address not in wanted]:
                self._stop(link.index, table.pop(octets).address)
                answers.revision += 1
        for address, claim in wanted.items():
            table = answers.table(address)
            answer = table.get(address.packed)
            if answer is None:
                answer = table[address.packed] = Answer(address, claim.deadline, probes=0 if address in self._to_probe else None)
                answer.prepare(link)
                answers.revision += 1
                lapsed = True
            else:
                lapsed = answer.until <= now
            answer.grant(claim.deadline, claim.held_until)
            self._holds.follow(link.index, answer, now)
            if lapsed and claim.deadline > now and link.carrier:
                self._begin(link.index, answer, now)

    def _claims_on(self, name: str) -> dict[Address, Claim]:
        """The claims on a link by address; of several claims for one address, the one with the latest deadline holds."""
        wanted: dict[Address, Claim] = {}
        for claim in self._claims.claims:
            if name in claim.interfaces and ((known := wanted.get(claim.address)) is None or known.deadline < claim.deadline):
                wanted[claim.address] = claim
        return wanted

    def control_lost(self, now: Instant) -> None:
        """Nobody knows any more whether the leases can be renewed: what is held beyond its deadline is answered no longer."""
        if any(claim.held_until > NEVER for claim in self._claims.claims):
            claims = tuple(replace(claim, held_until=NEVER) for claim in self._claims.claims)
            self.replace_claims(replace(self._claims, claims=claims), now)

    def solicited_node_groups(self) -> Mapping[int, frozenset[IPv6Address]]:
        """The multicast groups to be a member of, by link index."""
        return {
            index: frozenset(solicited_node_multicast(address) for address in answers.ipv6_addresses())
            for index, answers in self.links.items()
            if answers.ipv6
        }

    # -- frames

    def receive_frame(self, frame: bytes, ifindex: int, now: Instant) -> Verdict:
        """Judge one frame; an answer to it waits in ``frames_to_send``."""
        verdict = self._judge(frame, ifindex, now)
        self.verdicts[verdict] += 1
        return verdict

    def _judge(self, frame: bytes, ifindex: int, now: Instant) -> Verdict:
        answers = self.links.get(ifindex)
        if answers is None:
            return Verdict.UNKNOWN_LINK
        try:
            frame = without_priority_tag(frame)
            header = decode_ethernet(frame)
            if header.ethertype in VLAN_TYPES:
                return Verdict.VLAN_TAGGED
            if header.ethertype not in (ETH_P_ARP, ETH_P_IPV6):
                return Verdict.OTHER_PROTOCOL
            if header.source == answers.link.mac:
                return Verdict.OWN_FRAME
            if header.destination != answers.link.mac and not is_group(header.destination):
                return Verdict.OTHER_DESTINATION
            if header.ethertype == ETH_P_ARP:
                return self._judge_arp(frame, answers, now)
            return self._judge_ndp(frame, header, answers, now)
        except DecodeError:
            return Verdict.MALFORMED

    def _judge_arp(self, frame: bytes, answers: LinkAnswers, now: Instant) -> Verdict:
        packet = arp.decode_arp(frame[HEADER_LENGTH:])
        mac = packet.sender_hardware_address
        if packet.opcode not in (arp.REQUEST, arp.REPLY):
            return Verdict.NOT_REQUEST
        claim = self._judge_claim(packet.sender_protocol_address, mac, answers, now)
        if packet.opcode == arp.REPLY:
            return claim or Verdict.NOT_REQUEST
        if (unusable := _judge_asker(mac, answers.link)) is not None:
            return unusable
        if packet.is_announcement:
            return claim or Verdict.ANNOUNCEMENT
        address = packet.target_protocol_address
        if packet.is_probe and (rival := self._judge_probe(address, mac, answers, now)) is not None:
            return rival
        verdict = self._authorize(address, answers, mac, now)
        if verdict is Verdict.ANSWERED:
            self._outbox.append(Transmit(answers.link.index, arp.arp_reply(answers.link.mac, address, packet)))
            return verdict
        return claim or verdict

    def _judge_ndp(self, frame: bytes, header: EthernetHeader, answers: LinkAnswers, now: Instant) -> Verdict:
        if len(frame) > icmpv6.ICMPV6_OFFSET:
            if frame[20] != icmpv6.NEXT_HEADER_ICMPV6:
                return Verdict.OTHER_PROTOCOL
            if frame[icmpv6.ICMPV6_OFFSET] == icmpv6.NEIGHBOR_ADVERTISEMENT:
                advertisement = icmpv6.decode_neighbor_advertisement(frame)
                mac = advertisement.target_link_layer_address or header.source
                return self._judge_claim(advertisement.target, mac, answers, now) or Verdict.NOT_REQUEST
            if frame[icmpv6.ICMPV6_OFFSET] != icmpv6.NEIGHBOR_SOLICITATION:
                return Verdict.NOT_REQUEST
        solicitation = icmpv6.decode_neighbor_solicitation(frame)
        if solicitation.is_for_another_host:
            return Verdict.OTHER_DESTINATION
        asker = solicitation.source_link_layer_address or header.source
        if (unusable := _judge_asker(asker, answers.link)) is not None:
            return unusable
        if (
            solicitation.is_duplicate_address_detection
            and (rival := self._judge_probe(solicitation.target, asker, answers, now)) is not None
        ):
            return rival
        verdict = self._authorize(solicitation.target, answers, asker, now)
        if verdict is Verdict.ANSWERED:
            link = answers.link
            self._outbox.append(Transmit(link.index, icmpv6.neighbor_reply(link.mac, asker, solicitation, link.link_local)))
        return verdict

    def _authorize(self, address: Address, answers: LinkAnswers, asker: bytes, now: Instant) -> Verdict:
        """The fence: claimed, here, and before the deadline; then the limit. Counts the answer."""
        answer = answers.table(address).get(address.packed)
        if answer is None:
            return Verdict.WRONG_INTERFACE if address in self._claimed else Verdict.NOT_CLAIMED
        if now >= answer.deadline and now >= answer.answered_until:
            return Verdict.EXPIRED if now >= answer.granted else Verdict.PROBING
        if not answers.limit.admits(asker, now):
            return Verdict.RATE_LIMITED
        answer.count += 1
        answer.last = now
        return Verdict.ANSWERED

    def _judge_claim(self, address: Address, mac: bytes, answers: LinkAnswers, now: Instant) -> Verdict | None:
        """Somebody with ``mac`` says that ``address`` is theirs: None unless it is ours. A stranger is noted, and told better at most once
        in a defend interval (RFC 5227, 2.4, case c); a probe that finds one is repeated after that time. What may be held is yielded."""
        answer = answers.table(address).get(address.packed)
        if answer is None or mac in self._own_macs or _judge_asker(mac, answers.link) is not None:
            return None
        if now >= answer.until and not answer.may_be_held:
            return None
        verdict = Verdict.TAKEOVER if mac in self._claims.peers else Verdict.CONFLICT
        yields = answer.may_be_held
        if verdict is Verdict.TAKEOVER and not yields:
            return verdict
        index = answers.link.index
        answer.conflicts += 1
        answer.foreign_mac, answer.last_conflict = mac, now
        self._disputed.add((index, address))
        if yields:
            answer.yielded = True
        elif answer.probes is not None:
            if answer.probes:
                answer.probes = 0
                self._schedule.again(index, address, now + self._claims.defend_interval)
        elif now >= answer.defended + self._claims.defend_interval:
            answer.defended = now
            self._schedule.again(index, address, now)
        return verdict

    def _judge_probe(self, address: Address, mac: bytes, answers: LinkAnswers, now: Instant) -> Verdict | None:
        """Somebody wants an address (RFC 5227, 2.1.1; RFC 4862, 5.4.3). That is a claim where ours is not certain: while we probe for the
        address ourselves, or hold it beyond the deadline."""
        answer = answers.table(address).get(address.packed)
        return None if answer is None or now < answer.deadline else self._judge_claim(address, mac, answers, now)

    # -- time

    def next_timer(self) -> Instant | None:
        """When ``handle_timer`` should be called next; None when nothing is due."""
        return min((at for at in (self._schedule.next_timer(), self._holds.next_timer()) if at is not None), default=None)

    def handle_timer(self, now: Instant) -> None:
        """Queue the announcements that are due: both ARP forms, or an unsolicited neighbor advertisement; or a probe.

        Every frame that has come is to be judged before: a probe counts as unanswered when its time has passed.
        """
        for ifindex, answer, lapsed in self._holds.unanswered(now):
            if lapsed:  # an end that only moved away leaves the bound a bound
                self._next_deadline = NEVER
                self._schedule.start(ifindex, answer.address, now)
        for ifindex, answer in self._holds.due(now):
            if self.links[ifindex].link.carrier:
                self._holds.asked(ifindex, answer, now)
                self._outbox.append(Transmit(ifindex, probe_frame(answer.address, self.links[ifindex].link), answer.address, True))
        for ifindex, address in self._schedule.due(now):
            answers = self.links[ifindex]
            answer = answers.table(address)[address.packed]
            ours_until = answer.answered_until if answer.probes is None else answer.granted
            if now >= ours_until or not answers.link.carrier:
                self._schedule.stop(ifindex, address)
                continue
            if answer.probes is not None:
                self._probe(answers.link, answer, answer.probes, now)
                continue
            frames = announcement_frames(address, answers.link)
            self._count_announcements(answer, len(frames))
            self._outbox += (Transmit(ifindex, frame, address) for frame in frames)

    def _probe(self, link: Link, answer: Answer, sent: int, now: Instant) -> None:
        """The next probe; after the last one and its wait, the address is ours."""
        address = answer.address
        if sent < PROBE_COUNT:
            answer.probes = sent + 1
            self._outbox.append(Transmit(link.index, probe_frame(address, link), address, True))
            self._schedule.again(link.index, address, now + self._claims.probe_wait / PROBE_COUNT)
            return
        answer.probes = None
        answer.grant(answer.granted, answer.held_until)
        self._probed.add(address)
        self._to_probe.discard(address)
        self._schedule.start(link.index, address, now)

    def sending_failed(self, transmits: Iterable[Transmit], now: Instant) -> None:
        """These frames were not sent. Announcements among them are tried again soon, a bounded number of times; answers are not, as
        whoever asked asks again."""
        failed = Counter((one.ifindex, one.announced, one.is_probe) for one in transmits if one.announced is not None)
        for (ifindex, address, is_probe), count in failed.items():
            answers = self.links.get(ifindex)
            answer = answers.table(address).get(address.packed) if answers is not None else None
            if answer is None:
                continue
            if is_probe and answer.probes is None:
                answer.asked_at = FOREVER
                continue
            if answer.probes:
                answer.probes -= 1
            else:
                self._count_announcements(answer, -count)
            self._schedule.failed(ifindex, address, now)

    def _count_announcements(self, answer: Answer, count: int) -> None:
        answer.announcements += count
        self._announcements += count

    # -- what goes out

    def frames_to_send(self) -> list[Transmit]:
        """Take the frames that wait to be sent."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def may_send(self, judged: Instant, now: Instant) -> bool:
        """Whether frames judged at ``judged`` may be sent at ``now``: no deadline of any claim has come in between.

        ``judged`` never goes back from call to call. Usually one comparison, with the first deadline after ``judged``.
        """
        if now >= self._next_deadline:
            deadlines = chain((claim.deadline for claim in self._claims.claims), self._holds.ends())
            self._next_deadline = min((deadline for deadline in deadlines if deadline > judged), default=FOREVER)
        return now < self._next_deadline

    def has_live_claims(self, now: Instant) -> bool:
        """True while any claim's deadline is still to come."""
        return any(now < claim.until for claim in self._claims.claims)

    def report(self, now: Instant, problems: tuple[str, ...] = ()) -> Report:
        """What is applied, seen and answered, for the control process. Taking it marks its answer records as reported."""
        return Report(
            generation=self._generation,
            sent_at=now,
            links=tuple(answers.link for answers in self.links.values()),
            verdicts=tuple((verdict.value, count) for verdict, count in self.verdicts.items()),
            announcements=self._announcements,
            answered=tuple(answer_records(self.links)),
            problems=problems,
            conflicts=tuple(conflict_records(self.links, self._disputed)),
        )

    def forget_reports(self) -> None:
        """Whoever takes the next report knows nothing yet: it and its successors tell of every address again."""
        forget_reports(self.links)


def _judge_asker(mac: bytes, link: Link) -> Verdict | None:
    """Why nobody with this hardware address is answered; None when it can be."""
    if mac == link.mac:
        return Verdict.OWN_FRAME
    return Verdict.BAD_SENDER if is_group(mac) or mac == arp.NO_MAC else None
