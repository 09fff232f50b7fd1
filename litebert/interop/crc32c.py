"""CRC-32C (Castagnoli), the checksum in TensorFlow's files, fast enough for weights: numpy over many pieces."""

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78
Words = NDArray[np.uint32]


def crc32c(data: bytes | memoryview) -> int:
    """Return the checksum of the bytes.

    A checksum is linear over bits: the pieces' checksums from a zero register are computed at once, then joined
    two by two, the left one moved on by the right one's length.
    """
    table = _table()
    whole = np.frombuffer(data, np.uint8)
    size = min(4096, 1 << (len(whole).bit_length() + 1) // 2)
    # Zero bytes in front do not move a zero register, so that the buffer may be filled up on the left.
    pieces = 1 << max(0, -(-len(whole) // size) - 1).bit_length()
    padded = np.zeros(pieces * size, np.uint8)
    padded[len(padded) - len(whole) :] = whole
    columns = np.ascontiguousarray(padded.reshape(pieces, size).T)
    register = np.zeros(pieces, np.uint32)
    for column in columns:
        register = table[(register ^ column) & 0xFF] ^ (register >> 8)
    step = _power(_zero_byte(table), size)
    while len(register) > 1:
        register = _apply(step, register[0::2]) ^ register[1::2]
        step = _apply(step, step)
    # The register begins with ones: their share is the ones moved on by the length of the data.
    start = _apply(_power(_zero_byte(table), len(whole)), np.array([0xFFFFFFFF], np.uint32))
    return int(register[0] ^ start[0]) ^ 0xFFFFFFFF


def masked_crc32c(data: bytes | memoryview) -> int:
    """Return the checksum as TensorFlow and LevelDB store it: rotated by 15 bits, plus a constant."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _table() -> Words:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


def _zero_byte(table: Words) -> Words:
    """Return the effect of one zero byte on a register, as the images of its 32 bits."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    image: Words = table[bits & 0xFF] ^ (bits >> 8)
    return image


def _apply(matrix: Words, registers: Words) -> Words:
    """Multiply each register by a matrix given as the images of the 32 bits."""
    result = np.zeros_like(registers)
    for bit in range(32):
        result ^= np.where((registers >> np.uint32(bit)) & 1, matrix[bit], np.uint32(0))
    return result


def _power(matrix: Words, exponent: int) -> Words:
    result = np.uint32(1) << np.arange(32, dtype=np.uint32)  # the identity
    while exponent:
        if exponent & 1:
            result = _apply(matrix, result)
        matrix = _apply(matrix, matrix)
        exponent >>= 1
    return result
