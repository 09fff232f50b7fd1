"""`tokenizer.json`: the same tokenizer in the format of Hugging Face's `tokenizers`."""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from litebert.text.normalize import Normalization

_WORD_MARK = "▁"


def make(
    pieces: Sequence[str],
    scores: Sequence[float],
    specials: Sequence[str],
    lowered: Sequence[int],
    normalization: Normalization,
    charsmap: bytes,
    compose,
    mode,
) -> Tokenizer:
    floor = min(scores) - 1000.0
    if mode == "lower":
        vocab = [(p, floor if i in lowered else s) for i, (p, s) in enumerate(zip(pieces, scores, strict=True))]
    else:
        vocab = list(zip(pieces, scores, strict=True))
    t = Tokenizer(models.Unigram(vocab, unk_id=1, byte_fallback=False))
    steps = [normalizers.Replace(Regex(f"[{_class(str.isspace)}]+"), " ")]
    if not normalization.keep_accents:
        steps += [normalizers.NFKD(), normalizers.Replace(Regex(f"[{_class(lambda c: unicodedata.combining(c) > 0)}]+"), "")]
    if normalization.lower:
        steps.append(normalizers.Lowercase())
    if compose:
        steps.append(normalizers.NFC())
    if charsmap:
        steps.append(normalizers.Precompiled(charsmap))
    steps += [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip(left=False, right=True)]
    t.normalizer = normalizers.Sequence(steps)
    t.pre_tokenizer = pre_tokenizers.Metaspace(_WORD_MARK, prepend_scheme="first")
    t.decoder = decoders.Metaspace(_WORD_MARK, prepend_scheme="first")
    t.post_processor = processors.TemplateProcessing(single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    t.add_special_tokens([AddedToken(s, lstrip=s == "[MASK]", normalized=False, special=True) for s in specials])
    return t


def _class(belongs) -> str:
    ranges = []
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000 or not belongs(chr(code)):
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\x{{{a:x}}}-\\x{{{b:x}}}" for a, b in ranges)
