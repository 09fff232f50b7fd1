"""Reading a TensorFlow checkpoint without TensorFlow.

A checkpoint is `PREFIX.index`, a table in LevelDB's format from tensor names to places, and the raw numbers in
`PREFIX.data-00000-of-0000N`. Formats: leveldb's doc/table_format.md, TensorFlow's tensor_bundle.proto.
"""

import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from litebert.errors import ModelFolderError
from litebert.interop.crc32c import masked_crc32c

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 14: "bfloat16", 19: "<f2"}
"""TensorFlow's numbers of the types that weights come in."""


class Entry(NamedTuple):
    """Where one tensor lies, from the index."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    sliced: bool
    """Stored in pieces, as partitioned variables are."""


def find_checkpoint(source: Path) -> Path:
    """Return the prefix of a TensorFlow checkpoint: `source` itself, or the only or the latest one in a folder.

    Raises ModelFolderError where there is none, or where a folder holds several and its `checkpoint` file does
    not say which.
    """
    if not source.is_dir():
        prefix = source.with_name(source.name.removesuffix(".index"))
        if _index(prefix).is_file():
            return prefix
        raise ModelFolderError(f"{source} is no checkpoint: there is no {_index(prefix).name}; name its prefix")
    prefixes = sorted(path.with_suffix("") for path in source.glob("*.index"))
    state = source / "checkpoint"
    if len(prefixes) > 1 and state.is_file():
        named = re.search(r'^model_checkpoint_path: "(.*)"', state.read_text(encoding="utf-8", errors="replace"), re.M)
        prefixes = [prefix for prefix in prefixes if named and prefix.name == Path(named[1]).name] or prefixes
    if len(prefixes) != 1:
        names = ", ".join(prefix.name for prefix in prefixes[:4]) or "none"
        raise ModelFolderError(f"{source} must hold one checkpoint, there is: {names}; name a prefix, FOLDER/NAME")
    return prefixes[0]


def read_index(prefix: Path) -> dict[str, Entry]:
    """Read the names and places of a checkpoint's tensors; raises ModelFolderError where the file is damaged."""
    path = _index(prefix)
    try:
        data = path.read_bytes()
        records = dict(_table(data))
        _header(records.pop(b""))
        return {name.decode(): _entry(value) for name, value in records.items()}
    except (OSError, ValueError, IndexError, KeyError, struct.error, RecursionError) as error:
        raise ModelFolderError(f"{path} is damaged or no checkpoint's index ({error}): get it again") from error


def read_checkpoint(prefix: Path, wanted: Callable[[str], bool] = lambda _: True) -> dict[str, Tensor]:
    """Read the wanted tensors of a checkpoint in fp32, each with its checksum proved.

    Raises ModelFolderError where a file is missing, cut short or damaged, or a tensor is of a kind that no
    ALBERT has.
    """
    entries = {name: entry for name, entry in read_index(prefix).items() if wanted(name)}
    shards = {entry.shard for entry in entries.values()}
    paths = {shard: _shard(prefix, shard) for shard in shards}
    return {name: _read(name, entry, paths[entry.shard]) for name, entry in sorted(entries.items())}


def _read(name: str, entry: Entry, path: Path) -> Tensor:
    dtype = _DTYPES.get(entry.dtype)
    if dtype is None or entry.sliced:
        raise ModelFolderError(f"{path}: {name} is stored in a way no ALBERT has (type {entry.dtype}): save it whole")
    with path.open("rb") as file:
        file.seek(entry.offset)
        data = file.read(entry.size)
    if len(data) < entry.size:
        raise ModelFolderError(f"{path} is cut short: {name} ends at byte {entry.offset + entry.size}; copy it again")
    if masked_crc32c(data) != entry.checksum:
        raise ModelFolderError(f"{path} is damaged: the checksum of {name} is wrong; copy or download it again")
    if dtype == "bfloat16":
        numbers = torch.frombuffer(bytearray(data), dtype=torch.bfloat16)
    else:
        numbers = torch.from_numpy(np.frombuffer(data, dtype).copy())
    if numbers.numel() != np.prod(entry.shape, dtype=np.int64):
        raise ModelFolderError(f"{path}: {name} has {numbers.numel()} numbers for shape {entry.shape}: get it again")
    return numbers.reshape(entry.shape).float()


def _index(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".index")


def _shard(prefix: Path, shard: int) -> Path:
    found = list(prefix.parent.glob(f"{_escaped(prefix.name)}.data-{shard:05d}-of-*"))
    if len(found) != 1:
        raise ModelFolderError(
            f"{prefix}.data-{shard:05d}-of-... is missing: a checkpoint is its .index and its .data files together"
        )
    return found[0]


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a LevelDB table: the footer finds the index, the index the blocks."""
    if len(data) < _FOOTER or struct.unpack("<Q", data[-8:])[0] != _MAGIC:
        raise ValueError("its end is not that of a table")
    footer = data[-_FOOTER:]
    _, position = _handle(footer, 0)  # the block of metadata, which TensorFlow leaves empty
    index, _ = _handle(footer, position)
    for _, value in _block(data, *index):
        yield from _block(data, *_handle(value, 0)[0])


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield one block's keys and values; a key tells only where it differs from the one before."""
    block, trailer = data[offset : offset + size], data[offset + size : offset + size + 5]
    if len(block) < size or len(trailer) < 5:
        raise ValueError("it is cut short")
    if masked_crc32c(block + trailer[:1]) != struct.unpack("<I", trailer[1:])[0]:
        raise ValueError("a block's checksum is wrong")
    if trailer[0]:
        raise ValueError("it is compressed, which TensorFlow does not do")
    restarts = struct.unpack("<I", block[-4:])[0]
    position, end, key = 0, size - 4 - 4 * restarts, b""
    while position < end:
        shared, position = _varint(block, position)
        own, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + own]
        position += own
        yield key, block[position : position + length]
        position += length


def _handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    offset, position = _varint(data, position)
    size, position = _varint(data, position)
    return (offset, size), position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if not byte & 0x80:
            return value, position


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the field numbers and values of a protocol buffer's message."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, position = _varint(data, position)
            yield number, value
        elif kind == 2:
            length, position = _varint(data, position)
            yield number, data[position : position + length]
            position += length
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
            yield number, int.from_bytes(data[position : position + length], "little")
            position += length
        else:
            raise ValueError(f"a field of kind {kind}")


def _header(data: bytes) -> None:
    if dict(_fields(data)).get(2, 0) != 0:
        raise ValueError("its numbers are big-endian")


def _entry(data: bytes) -> Entry:
    values: dict[int, int] = {}
    shape: tuple[int, ...] = ()
    sliced = False
    for number, value in _fields(data):
        if isinstance(value, int):
            values[number] = value
        elif number == 2:
            shape = tuple(_size(dim) for kind, dim in _fields(value) if kind == 2 and isinstance(dim, bytes))
        elif number == 7:
            sliced = True
    return Entry(
        dtype=values.get(1, 0),
        shape=shape,
        shard=values.get(3, 0),
        offset=values.get(4, 0),
        size=values.get(5, 0),
        checksum=values.get(6, 0),
        sliced=sliced,
    )


def _size(dim: bytes) -> int:
    size = dict(_fields(dim)).get(1, 0)
    assert isinstance(size, int)
    return size
