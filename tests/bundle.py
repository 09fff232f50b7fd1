"""Writing small TensorFlow checkpoints by the formats' descriptions, so that reading them can be tested."""

import struct
from collections.abc import Mapping
from pathlib import Path

from litebert.interop.crc32c import masked_crc32c

MAGIC = 0xDB4775248B80FB57


def write_checkpoint(
    prefix: Path,
    stored: Mapping[str, tuple[int, bytes, tuple[int, ...]]],
    *,
    blocks: int = 1,
    compression: int = 0,
    header: bytes = b"\x08\x01",
    extra: bytes = b"",
) -> Path:
    """Write a checkpoint of {name: (type, bytes, shape)}, its keys divided into `blocks`; returns the prefix.

    `compression` is the mark on these blocks, `header` the bundle's own record, `extra` ends each tensor's record.
    """
    data, entries = b"", [(b"", header)]
    for name, (dtype, content, shape) in sorted(stored.items()):
        dims = b"".join(_message(2, b"\x08" + _varint(size)) for size in shape)
        entry = b"\x08" + _varint(dtype) + _message(2, dims)
        entry += b"\x20" + _varint(len(data)) + b"\x28" + _varint(len(content))
        entries.append((name.encode(), entry + b"\x35" + struct.pack("<I", masked_crc32c(content)) + extra))
        data += content
    table, index = b"", []
    for start in range(0, len(entries), per_block := -(-len(entries) // blocks)):
        part = entries[start : start + per_block]
        block = _block(part)
        index.append((part[-1][0], _varint(len(table)) + _varint(len(block))))
        table += _sealed(block, compression)
    handles = b""
    for block in (_block([]), _block(index)):
        handles += _varint(len(table)) + _varint(len(block))
        table += _sealed(block, 0)
    prefix.with_name(f"{prefix.name}.index").write_bytes(table + handles.ljust(40, b"\0") + struct.pack("<Q", MAGIC))
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(data)
    return prefix


def _varint(value: int) -> bytes:
    result = b""
    while value > 0x7F:
        result += bytes([value & 0x7F | 0x80])
        value >>= 7
    return result + bytes([value])


def _message(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(content)) + content


def _block(records: list[tuple[bytes, bytes]]) -> bytes:
    result, before = b"", b""
    for key, value in records:
        shared = 0
        while key[: shared + 1] == before[: shared + 1] and shared < len(key):
            shared += 1
        result += _varint(shared) + _varint(len(key) - shared) + _varint(len(value)) + key[shared:] + value
        before = key
    return result + struct.pack("<II", 0, 1)


def _sealed(block: bytes, compression: int) -> bytes:
    whole = block + bytes([compression])
    return whole + struct.pack("<I", masked_crc32c(whole))
