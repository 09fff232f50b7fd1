"""How fast texts are encoded, beside plain sentencepiece, and how often `tokenizer.json` gives other ids.

    LITEBERT_DATA=... python benchmarks/tokenizer.py [--megabytes 20] [--rounds 7] [--threads 2]

Reads paragraphs of every file of $LITEBERT_DATA/corpus and the original's vocabulary. The contestants take turns;
each speed is that of its median round. Plain sentencepiece is given the texts as they are, and once more normalized
in advance: the better of the two is what we are compared with. Ours includes normalization, the split of digits and
commas and, in `encode_batch`, all lists of an encoding. The last line of the output is one JSON object.
"""

import argparse
import json
import lzma
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sentencepiece
import tokenizers

from litebert.text.tokenizer import Tokenizer, load_tokenizer
from litebert.text.unigram import SPECIAL_PIECES, SentencePieceTokenizer


def paragraphs(file: Path, characters: int) -> Iterator[str]:
    """Yield paragraphs of a file of documents until there are that many characters."""
    with lzma.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            for paragraph in json.loads(line)["text"].split("\n"):
                if paragraph:
                    yield paragraph
                    characters -= len(paragraph)
            if characters <= 0:
                return


def race(contestants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Let everyone run once a round; return the seconds of each one's median round."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            result = run()
            seconds[name].append(time.perf_counter() - start)
            del result
    return {name: statistics.median(values) for name, values in seconds.items()}


def speeds(tokenizer: Tokenizer, model: Path, texts: list[str], rounds: int, threads: int) -> dict[str, float]:
    """Return megabytes a second of everyone."""
    assert isinstance(tokenizer, SentencePieceTokenizer)
    plain = sentencepiece.SentencePieceProcessor(model_file=str(model))
    normalized = [tokenizer.normalization(text) for text in texts]
    contestants = {
        "plain": lambda: plain.encode(texts, num_threads=threads),
        "plain_normalized": lambda: plain.encode(normalized, num_threads=threads),
        "encode_ids": lambda: tokenizer.encode_ids(texts, threads=threads),
        "encode_batch": lambda: tokenizer.encode_batch(texts, special_tokens=False, threads=threads),
    }
    race(contestants, 1)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    return {name: megabytes / seconds for name, seconds in race(contestants, rounds).items()}


def differences(tokenizer: Tokenizer, texts: list[str]) -> dict[str, Any]:
    """Compare our ids with those that `tokenizers` gives from our tokenizer.json."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        theirs = tokenizers.Tokenizer.from_file(str(Path(folder, "tokenizer.json")))
    different, tokens, examples = 0, 0, set()
    for begin in range(0, len(texts), 1000):
        portion = texts[begin : begin + 1000]
        pairs = zip(tokenizer.encode_batch(portion), theirs.encode_batch(portion), strict=True)
        for ours, other in pairs:
            tokens += len(ours.ids)
            if ours.ids != other.ids:
                different += 1
                at = next(i for i, ids in enumerate(zip(ours.ids, other.ids, strict=False)) if len(set(ids)) > 1)
                examples.add(f"{' '.join(ours.pieces[at - 1 : at + 3])} | {' '.join(other.tokens[at - 1 : at + 3])}")
    spelled = sum(any(piece in text for piece in SPECIAL_PIECES) for text in texts)
    return {
        "texts": len(texts),
        "pieces": tokens,
        "texts_with_other_ids": different,
        "texts_that_spell_a_special_piece": spelled,
        "examples": sorted(examples)[:10],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if not os.environ.get("LITEBERT_DATA"):
        parser.error("LITEBERT_DATA is not set: this benchmark reads the corpus and the vocabulary there")
    data = Path(os.environ["LITEBERT_DATA"])
    model = data / "vocab" / "30k-clean.model"
    files = sorted((data / "corpus").glob("*.jsonl.xz"))
    share = int(arguments.megabytes * 1e6 / len(files))
    texts = [text for file in files for text in paragraphs(file, share)]
    tokenizer = load_tokenizer(model)
    found = speeds(tokenizer, model, texts, arguments.rounds, arguments.threads)
    for name, speed in found.items():
        print(f"{name:17} {speed:6.1f} MB/s")
    reference = max(found["plain"], found["plain_normalized"])
    exported = differences(tokenizer, texts)
    print(f"tokenizer.json: {exported['texts_with_other_ids']} of {exported['texts']} texts get other ids")
    result = {
        "megabytes_per_second": {name: round(speed, 1) for name, speed in found.items()},
        "ids_to_plain": round(found["encode_ids"] / reference, 2),
        "offsets_to_plain": round(found["encode_batch"] / reference, 2),
        "tokenizer_json": exported,
    }
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
