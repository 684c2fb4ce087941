"""The Internet checksum (RFC 1071) over an IPv6 pseudo-header (RFC 8200, 8.1).

A ones' complement sum of 16-bit words equals the octets, read as one big-endian number, modulo 0xffff: 2**16 leaves the remainder 1.
So whole packets are summed by one division, and sums of parts are added.
"""


def word_sum(octets: bytes) -> int:
    """The ones' complement sum of an even number of octets, as a residue modulo 0xffff (so 0 stands for 0xffff too)."""
    return int.from_bytes(octets, "big") % 0xFFFF


def complement(total: int) -> bytes:
    """The checksum field for words that sum up to ``total``. Never 0xffff: only words that are all 0 have that one, and a pseudo-header
    has others."""
    return (-total % 0xFFFF).to_bytes(2, "big")
