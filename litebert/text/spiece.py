"""The parts of a sentencepiece model file that its library does not hand out without protobuf."""

from collections.abc import Iterator
from typing import NamedTuple

from litebert.errors import TokenizerError

UNIGRAM = 1

_MODEL_TYPES = {1: "unigram", 2: "BPE", 3: "word", 4: "character"}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class ModelSettings(NamedTuple):
    """What decides how a sentencepiece model treats a text, beside its pieces."""

    normalizer: str
    """Name of the normalization built into the model, such as "nmt_nfkc"."""
    charsmap: bytes
    """Its rules, compiled as a double-array trie; empty for the identity."""


def read_settings(model: bytes) -> ModelSettings:
    """Read the settings of a serialized `ModelProto` (sentencepiece_model.proto).

    Raises:
        TokenizerError: the model is of a kind that ALBERT's vocabularies never are.
        ValueError: `model` is no protobuf message.
    """
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    for field, value in _fields(model):
        if field == 2 and isinstance(value, bytes):
            trainer = dict(_fields(value))
        elif field == 3 and isinstance(value, bytes):
            normalizer = dict(_fields(value))
    model_type = trainer.get(3, UNIGRAM)
    if model_type != UNIGRAM:
        kind = _MODEL_TYPES.get(int(model_type), str(model_type))
        raise TokenizerError(f"a {kind} model, no unigram model as ALBERT's; train one with `litebert tokenizer train`")
    unusual = {
        "byte_fallback": bool(trainer.get(35, 0)),
        "treat_whitespace_as_suffix": bool(trainer.get(24, 0)),
        "add_dummy_prefix=false": not normalizer.get(3, 1),
        "remove_extra_whitespaces=false": not normalizer.get(4, 1),
        "escape_whitespaces=false": not normalizer.get(5, 1),
    }
    if any(unusual.values()):
        names = ", ".join(name for name, used in unusual.items() if used)
        raise TokenizerError(f"a model with {names}, unlike any of ALBERT's; train one with `litebert tokenizer train`")
    name, charsmap = normalizer.get(1, b""), normalizer.get(2, b"")
    assert isinstance(name, bytes)
    assert isinstance(charsmap, bytes)
    return ModelSettings(name.decode(), charsmap)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field of a protobuf message, in order."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        field, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            number, at = _varint(message, at)
            yield field, number
            continue
        if wire == _BYTES:
            size, at = _varint(message, at)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + size > len(message):
            raise ValueError(f"a field of {size} bytes at byte {at} of {len(message)}")
        yield field, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message):
            raise ValueError("the message ends within a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
