"""The Internet checksum against RFC 1071's own example and the plain sum that it describes."""

import pytest

from l2announce.wire.checksum import complement, word_sum


def plain(octets: bytes) -> bytes:
    """RFC 1071, 1: add the words, add the carries, complement."""
    total = sum(int.from_bytes(octets[at : at + 2], "big") for at in range(0, len(octets), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (0xFFFF ^ total).to_bytes(2, "big")


def test_the_example_of_rfc_1071() -> None:
    octets = bytes.fromhex("0001 f203 f4f5 f6f7")
    assert word_sum(octets) == 0xDDF2
    assert complement(word_sum(octets)) == bytes.fromhex("220d") == plain(octets)


@pytest.mark.parametrize("octets", ["0001", "ffff", "8000 7fff", "ffff ffff 0001", "fffe 0001", "fffe", "1234 5678 9abc def0"])
def test_equals_the_plain_sum(octets: str) -> None:
    raw = bytes.fromhex(octets)
    assert complement(word_sum(raw)) == plain(raw)


def test_sums_of_parts_are_added() -> None:
    raw = bytes(range(64))
    assert complement(word_sum(raw[:20]) + word_sum(raw[20:])) == plain(raw)


def test_words_that_sum_up_to_ffff_have_the_checksum_zero() -> None:
    assert complement(0xFFFF) == complement(0) == b"\0\0"
