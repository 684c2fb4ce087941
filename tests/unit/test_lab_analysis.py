"""What the lab concludes from logs and captures, on hand-made data: above all, that a doubled answer is seen."""

from ipaddress import ip_address

import pytest
from netlab.analysis import CLOCK_GRAIN, NANO, AddressProof, Seen, blackout, holders_around, longest_pause, ownership, prove
from netlab.frames import Kind, Resolution, ask, parse

SERVICE = ip_address("10.99.0.10")
N1, N2 = b"\x02\x00\x00\x00\x00\x01", b"\x02\x00\x00\x00\x00\x02"
NODES = {N1: "n1", N2: "n2"}
MS = NANO // 1000


def asked(at_ms: int, asker: int = 192) -> Seen:
    return Seen(at_ms * MS, Resolution(Kind.ASK, SERVICE, b"\x02\xa5" + bytes(4), ip_address(f"10.99.0.{asker}")))


def answered(at_ms: int, mac: bytes, asker: int = 192) -> Seen:
    return Seen(at_ms * MS, Resolution(Kind.ANSWER, SERVICE, mac, ip_address(f"10.99.0.{asker}")))


def announced(at_ms: int, mac: bytes) -> Seen:
    return Seen(at_ms * MS, Resolution(Kind.ANNOUNCEMENT, SERVICE, mac, None))


HANDOVER = [(0, "n1"), (1000 * MS, "n2")]


class TestProof:
    def test_a_clean_handover_holds(self) -> None:
        seen = [asked(10), answered(11, N1), asked(990), answered(991, N1), announced(1010, N2), asked(1020), answered(1021, N2)]
        found = prove(seen, HANDOVER, NODES)
        assert found == AddressProof(asks=3, answers=3, announcements=1)
        assert found.holds

    def test_silence_proves_nothing(self) -> None:
        assert not prove([asked(10), asked(20)], HANDOVER, NODES).holds

    def test_one_ask_answered_by_two_nodes(self) -> None:
        """Both hold a lease around the change, so only the doubled answer tells."""
        seen = [asked(999), answered(1000, N1), answered(1001, N2)]
        found = prove(seen, HANDOVER, NODES)
        assert (found.doubles, found.interleavings, found.strangers) == (1, 0, 0)
        assert not found.holds

    def test_a_third_answer_to_one_ask_is_not_counted_again(self) -> None:
        seen = [asked(999), answered(1000, N1), answered(1001, N2), answered(1002, N2)]
        assert prove(seen, HANDOVER, NODES).doubles == 1

    def test_answers_to_two_askers_are_two_answers(self) -> None:
        seen = [asked(998, 192), asked(999, 193), answered(1000, N1, 192), answered(1001, N2, 193)]
        assert prove(seen, HANDOVER, NODES).doubles == 0

    def test_a_new_ask_of_the_same_asker_begins_anew(self) -> None:
        seen = [asked(990), answered(991, N1), asked(1010), answered(1011, N2)]
        assert prove(seen, HANDOVER, NODES).doubles == 0

    def test_the_old_owner_answers_once_more_after_the_new_one(self) -> None:
        """Different asks, so no doubled answer; but the intervals of the two MACs overlap."""
        seen = [asked(10, 192), answered(11, N1, 192), asked(1002, 193), answered(1003, N2, 193), asked(1004, 194), answered(1004, N1, 194)]
        found = prove(seen, HANDOVER, NODES)
        assert (found.doubles, found.interleavings, found.strangers) == (0, 1, 0)
        assert not found.holds

    def test_coming_back_with_a_new_lease_is_no_fault(self) -> None:
        holders = [*HANDOVER, (2000 * MS, "n1")]
        seen = [asked(10), answered(11, N1), asked(1020), answered(1021, N2), asked(2020), answered(2021, N1)]
        assert prove(seen, holders, NODES).holds

    def test_an_answer_without_the_lease(self) -> None:
        seen = [asked(10), answered(11, N1), asked(1500), answered(1501, N1)]
        found = prove(seen, HANDOVER, NODES)
        assert (found.strangers, found.interleavings) == (1, 0)
        assert not found.holds

    def test_an_announcement_without_the_lease(self) -> None:
        seen = [asked(10), answered(11, N1), announced(500, N2)]
        assert prove(seen, HANDOVER, NODES).strangers == 1

    def test_a_mac_that_is_no_node_s(self) -> None:
        seen = [asked(10), answered(11, b"\x02\xff\x00\x00\x00\x09")]
        assert prove(seen, HANDOVER, NODES).strangers == 1

    def test_nobody_may_answer_a_released_address(self) -> None:
        seen = [asked(10), answered(11, N1), asked(500), answered(501, N1)]
        assert prove(seen, [(0, "n1"), (400 * MS, "")], NODES).strangers == 1


class TestHolders:
    @pytest.mark.parametrize(
        ("time", "expected"),
        [
            (-100 * MS, set()),
            (0, {"n1"}),
            (500 * MS, {"n1"}),
            (1000 * MS - CLOCK_GRAIN - 1, {"n1"}),
            (1000 * MS - CLOCK_GRAIN, {"n1", "n2"}),
            (1000 * MS + CLOCK_GRAIN - 1, {"n1", "n2"}),
            (1000 * MS + CLOCK_GRAIN + 1, {"n2"}),
            (9000 * MS, {"n2"}),
        ],
    )
    def test_both_sides_of_a_change_and_one_elsewhere(self, time: int, expected: set[str]) -> None:
        assert holders_around(HANDOVER, time) == expected

    def test_ownership_is_cut_to_the_run(self) -> None:
        holders = [(0, "n1"), (2 * NANO, ""), (3 * NANO, "n2")]
        assert ownership(holders, NANO, 5 * NANO) == [(0.0, 1.0, "n1"), (2.0, 4.0, "n2")]
        assert ownership(holders, 10 * NANO, 11 * NANO) == [(0.0, 1.0, "n2")]
        assert ownership([], 0, NANO) == []


class TestBlackout:
    def test_the_gap_inside(self) -> None:
        answers = [0, 10, 20, 500, 510, 520]
        assert blackout([time * MS for time in answers], 15 * MS, 515 * MS) == pytest.approx(0.48)

    def test_the_gap_that_is_open_at_the_start_counts_from_the_answer_before(self) -> None:
        assert blackout([100 * MS, 700 * MS, 710 * MS], 300 * MS, 705 * MS) == pytest.approx(0.6)

    def test_the_gap_that_is_open_at_the_end_counts_to_the_answer_after(self) -> None:
        assert blackout([100 * MS, 110 * MS, 900 * MS], 105 * MS, 200 * MS) == pytest.approx(0.79)

    def test_no_answer_at_all_is_as_long_as_the_scenario(self) -> None:
        assert blackout([], 100 * MS, 900 * MS) == pytest.approx(0.8)

    def test_answers_only_before(self) -> None:
        assert blackout([50 * MS], 100 * MS, 900 * MS) == pytest.approx(0.85)

    def test_the_gaps_of_other_scenarios_do_not_count(self) -> None:
        answers = [0, 3000, 3010, 3020, 3030, 9000]
        assert blackout([time * MS for time in answers], 3015 * MS, 3025 * MS) == pytest.approx(0.01)

    def test_the_prober_s_own_pauses(self) -> None:
        assert longest_pause([0, 10 * MS, 45 * MS, 55 * MS]) == pytest.approx(0.035)
        assert longest_pause([7]) == 0


class TestFrames:
    """The prober's asks are read back as asks, by a codec that is not the program's."""

    @pytest.mark.parametrize(("service", "asker"), [("10.99.0.10", "10.99.0.192"), ("fd99::10", "fd99::a5c0")])
    def test_an_ask_is_an_ask(self, service: str, asker: str) -> None:
        mac = b"\x02\xa5\x00\x00\x00\x00"
        seen = parse(ask(ip_address(service), ip_address(asker), mac))
        assert seen == Resolution(Kind.ASK, ip_address(service), mac, ip_address(asker))

    def test_other_octets_are_nothing(self) -> None:
        assert parse(b"") is None
        assert parse(bytes(60)) is None
        assert parse(ask(SERVICE, ip_address("10.99.0.192"), N1)[:41]) is None
