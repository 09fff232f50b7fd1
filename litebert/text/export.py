"""The tokenizer in the formats of Hugging Face: `tokenizer.json` for `tokenizers`, its config for `transformers`.

Both give our ids and segment ids, special pieces included, but for what the format cannot express:

- Where two segmentations of a word are equally good to the precision of 32 bits, sentencepiece takes the first
  that it finds, while `tokenizers` counts with 64 bits.
- A special piece that is spelled out in a text ("[SEP]") is text for us and becomes that piece there.
- The split of digits and commas (see `unigram`) is expressed by making the pieces to be split too improbable ever
  to be chosen. What stands before the comma is then segmented within its word instead of by itself.
- A text that begins with a control character gets no mark before its first word.
- Where accents are kept, several combining characters on one letter are put into Unicode's canonical order.

`benchmarks/tokenizer.py` measures how often real text is affected. The class `AlbertTokenizer` of `transformers`
is not named in the config, since it builds the normalization anew and reads `` and '' as a double quote, as the
original never did.
"""

import json
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from litebert.text.alignment import WORD_MARK
from litebert.text.normalize import Normalization

_NEVER = 1000.0
"""Added to the cost of the least probable piece; no word is so improbable."""

_LAST_PLANE_WITH_MARKS = 0x20000
"""Beyond it Unicode has neither white space nor combining characters."""


class Vocabulary(NamedTuple):
    """A unigram vocabulary, by piece numbers."""

    pieces: Sequence[str]
    scores: Sequence[float]
    specials: Sequence[str]
    """pad, unk, cls, sep and mask, in this order."""
    avoided: frozenset[int]
    """Pieces that are split after segmentation."""


def tokenizer_json(vocabulary: Vocabulary, normalization: Normalization, normalizer: str, charsmap: bytes) -> str:
    """Return the content of `tokenizer.json`.

    Args:
        vocabulary: the pieces.
        normalization: what happens to a text first.
        normalizer: name of the normalization built into the sentencepiece model, which comes second.
        charsmap: its compiled rules.
    """
    _, unk, cls, sep, mask = vocabulary.specials
    never = min(vocabulary.scores) - _NEVER
    scores = [never if i in vocabulary.avoided else score for i, score in enumerate(vocabulary.scores)]
    number = {piece: i for i, piece in enumerate(vocabulary.pieces)}
    pairs = list(zip(vocabulary.pieces, scores, strict=True))
    tokenizer = Tokenizer(models.Unigram(pairs, unk_id=number[unk], byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(_normalizers(normalization, normalizer, charsmap))
    # A mark only before the first word of a text: what follows a mask without a space has none.
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=WORD_MARK, prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(replacement=WORD_MARK, prepend_scheme="first")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, number[cls]), (sep, number[sep])],
    )
    # The space before a mask belongs to it: "a [MASK]" is three pieces, not four.
    special = (AddedToken(piece, lstrip=piece == mask, normalized=False) for piece in vocabulary.specials)
    tokenizer.add_special_tokens(list(special))
    text: str = tokenizer.to_str(pretty=True)
    return text + "\n"


def tokenizer_config(vocabulary: Vocabulary, normalization: Normalization) -> str:
    """Return the content of `tokenizer_config.json`, which `load_tokenizer` and `transformers` read."""
    pad, unk, cls, sep, mask = vocabulary.specials
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "do_lower_case": normalization.lower,
        "keep_accents": normalization.keep_accents,
        "remove_space": True,
        "model_max_length": 512,
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
        "bos_token": cls,
        "cls_token": cls,
        "eos_token": sep,
        "sep_token": sep,
        "pad_token": pad,
        "unk_token": unk,
        "mask_token": mask,
    }
    return json.dumps(config, indent=2) + "\n"


def _normalizers(normalization: Normalization, normalizer: str, charsmap: bytes) -> list[normalizers.Normalizer]:
    steps: list[normalizers.Normalizer] = [normalizers.Replace(Regex(f"[{_ranges(str.isspace)}]+"), " ")]
    if not normalization.keep_accents:
        combining = _ranges(lambda char: unicodedata.combining(char) > 0)
        # A text whose first character is removed would get no word mark; one that begins with a space does.
        steps += [normalizers.NFKD(), normalizers.Replace(Regex(f"^[{combining}]+"), " ")]
        steps.append(normalizers.Replace(Regex(f"[{combining}]"), ""))
    if normalization.lower:
        # `Lowercase` takes characters one by one and would not know the form of sigma at the end of a word.
        steps += [normalizers.Replace(Regex(r"(?<=\p{L})Σ(?!\p{L})"), "ς"), normalizers.Lowercase()]
    if "nfkc" in normalizer:
        steps.append(normalizers.NFC())  # `Precompiled` misses the rules that compose long sequences
    if charsmap:
        steps.append(normalizers.Precompiled(charsmap))
    return [*steps, normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip(left=False, right=True)]


def _ranges(belongs: Callable[[str], bool]) -> str:
    """All characters for which `belongs` is true, as the inside of a character class."""
    ranges: list[list[int]] = []
    for code in range(_LAST_PLANE_WITH_MARKS):
        if belongs(chr(code)):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in ranges)
