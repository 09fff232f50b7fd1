"""Small tokenizers of other models' kinds, trained here and written as their makers write them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ROBERTA = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
BERT = {role: f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
KINDS = ("wordpiece", "bytes", "metaspace")


def write_tokenizer(kind: str, texts: Iterable[str], folder: Path, *, pieces: int = 1200, fill: int = 0) -> Path:
    """Train a tokenizer: BERT's (`wordpiece`), RoBERTa's (`bytes`) or XLM-RoBERTa's (`metaspace`) kind.

    fill: pieces that no text yields, put after the trained ones until there are so many.
    """
    roles = BERT if kind == "wordpiece" else ROBERTA
    special = [roles[role] for role in ("cls", "pad", "sep", "unk", "mask")]
    tokenizer, trainer = _untrained(kind, special, pieces)
    tokenizer.train_from_iterator(texts, trainer)
    number = tokenizer.token_to_id
    cls, sep = (roles["cls"], number(roles["cls"])), (roles["sep"], number(roles["sep"]))
    if kind == "bytes":
        tokenizer.post_processor = processors.RobertaProcessing(sep, cls)
    else:
        middle = f"{sep[0]}:0" if kind == "wordpiece" else f"{sep[0]}:0 {sep[0]}:0"
        second = 1 if kind == "wordpiece" else 0
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{cls[0]}:0 $A:0 {sep[0]}:0",
            pair=f"{cls[0]}:0 $A:0 {middle} $B:{second} {sep[0]}:{second}",
            special_tokens=[cls, sep],
        )
    tokenizer.enable_padding(length=128)
    tokenizer.enable_truncation(128)
    values = json.loads(tokenizer.to_str())
    vocabulary = values["model"]["vocab"]
    for i in range(len(vocabulary), fill):
        vocabulary[f"[unused{i}]"] = i
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
    config = {f"{role}_token": piece for role, piece in roles.items()}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 128, **config}), encoding="utf-8"
    )
    return folder


def _untrained(kind: str, special: list[str], pieces: int) -> tuple[Tokenizer, Any]:
    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        return tokenizer, trainers.WordPieceTrainer(vocab_size=pieces, special_tokens=special, show_progress=False)
    if kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        letters = pre_tokenizers.ByteLevel.alphabet()
        return tokenizer, trainers.BpeTrainer(
            vocab_size=pieces, special_tokens=special, show_progress=False, initial_alphabet=letters
        )
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer, trainers.UnigramTrainer(
        vocab_size=pieces, special_tokens=special, show_progress=False, unk_token="<unk>"
    )
