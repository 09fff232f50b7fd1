"""Quality and speed of the sentence splitter, beside the naive rule (a mark, space, then no lower case).

    LITEBERT_DATA=... python benchmarks/sentences.py

On the hard cases of tests/text/sentences.txt (written together with the rules: they show what is covered, not how
well it does on other text), and on the corpus file `masc`, text of many genres with about one sentence a line. Its
line ends are noisy: many follow no mark at all (headings, mail headers, tweets) and are not asked for, and quotes
stand apart from their words. The last line of the output is one JSON object.
"""

import json
import lzma
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from litebert.text.sentences import split_sentences

Splitter = Callable[[str], list[tuple[int, int]]]
Case = tuple[str, set[int], set[int]]
"""A text, where its sentences end, and which of these ends are asked for."""

CASES = Path(__file__).parent.parent / "tests" / "text" / "sentences.txt"
NAIVE = re.compile(r"[.!?…]+[\"'”’)\]]*\s+(?![a-z])")


def naive(text: str) -> list[tuple[int, int]]:
    ends = [match.end() for match in NAIVE.finditer(text)]
    starts = [0, *ends]
    return [(start, len(text[:end].rstrip())) for start, end in zip(starts, [*ends, len(text)], strict=True)]


def hard_cases() -> Iterator[Case]:
    for case in CASES.read_text(encoding="utf-8").splitlines():
        if case and not case.startswith("#"):
            text, ends = "", set()
            for part in re.split(r" ?\|\|", case):
                text += part
                ends.add(len(text.rstrip()))
            yield text, ends, ends


def annotated(file: Path) -> Iterator[Case]:
    with lzma.open(file, "rt", encoding="utf-8") as rows:
        for row in rows:
            lines = [line.strip() for line in json.loads(row)["text"].split("\n") if line.strip()]
            ends, asked, place = set(), set(), -1
            for line in lines:
                place += len(line) + 1
                ends.add(place)
                if line.rstrip("\"'”’)] ").endswith((".", "!", "?", "…")):
                    asked.add(place)
            yield " ".join(lines), ends, asked


def score(cases: list[Case], split: Splitter) -> dict[str, float]:
    """Precision, recall and F1 of sentence ends; the end of the text, which cannot be missed, does not count."""
    found = right = hit = wanted = 0
    for text, ends, asked in cases:
        spans = {end for _, end in split(text)} - {len(text)}
        found += len(spans)
        right += len(spans & ends)
        hit += len(spans & asked)
        wanted += len(asked - {len(text)})
    precision, recall = right / found, hit / wanted
    return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / (precision + recall)}


def speed(texts: list[str]) -> float:
    """Megabytes of UTF-8 a second, the best of five."""
    size = sum(len(text.encode()) for text in texts) / 1e6
    times = []
    for _ in range(5):
        start = time.perf_counter()
        for text in texts:
            split_sentences(text)
        times.append(time.perf_counter() - start)
    return size / min(times)


def main() -> None:
    sets = {"hard cases": list(hard_cases())}
    corpus = Path(os.environ.get("LITEBERT_DATA", "")) / "corpus"
    if corpus.is_dir():
        sets["masc"] = list(annotated(corpus / "masc.jsonl.xz"))
    results: dict[str, object] = {"benchmark": "sentences"}
    for name, cases in sets.items():
        for rule, split in (("ours", split_sentences), ("naive", naive)):
            scores = score(cases, split)
            results[f"{name}, {rule}"] = scores
            shown = "  ".join(f"{key} {value:.4f}" for key, value in scores.items())
            print(f"{name:10}  {rule:5}  {len(cases):4} texts  {shown}")
    results["megabytes_per_second"] = speed([text for cases in sets.values() for text, _, _ in cases])
    print(f"{results['megabytes_per_second']:.1f} MB/s on one core")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
