"""Bits of a raw byte sequence payload, bounded: for parameter sets, never for pictures."""

from __future__ import annotations

from domain.errors import InvalidMedia

MAX_RBSP_BYTES = 4096
"""No parameter set in the field comes near this."""


def unescape(nal: bytes) -> bytes:
    """Take the emulation prevention bytes out (ITU-T H.264, 7.4.1; H.265, 7.4.2).

    Raises:
        InvalidMedia: Longer than any parameter set.
    """
    if len(nal) > MAX_RBSP_BYTES:
        msg = f"parameter set of {len(nal)} bytes"
        raise InvalidMedia(msg, "parameter_set")
    return nal.replace(b"\x00\x00\x03", b"\x00\x00")


class BitReader:
    """Reads unsigned and Exp-Golomb numbers from the most significant bit on."""

    __slots__ = ("_left", "_value")

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def u(self, bits: int) -> int:
        """Read a fixed number of bits.

        Raises:
            InvalidMedia: The data ends before.
        """
        if bits > self._left:
            msg = "parameter set ends too early"
            raise InvalidMedia(msg, "parameter_set")
        self._left -= bits
        return (self._value >> self._left) & ((1 << bits) - 1)

    def flag(self) -> bool:
        """Read one bit."""
        return self.u(1) == 1

    def ue(self, limit: int = 0xFFFFFFFF) -> int:
        """Read an unsigned Exp-Golomb number (H.264, 9.1).

        Raises:
            InvalidMedia: The data ends before, or the number is above `limit`.
        """
        zeros = 0
        while self.u(1) == 0:
            zeros += 1
            if zeros > 32:
                msg = "Exp-Golomb number beyond 32 bits"
                raise InvalidMedia(msg, "parameter_set")
        number = (1 << zeros) - 1 + self.u(zeros)
        if number > limit:
            msg = f"{number} in a parameter set where at most {limit} may stand"
            raise InvalidMedia(msg, "parameter_set")
        return number

    def se(self) -> int:
        """Read a signed Exp-Golomb number."""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)
