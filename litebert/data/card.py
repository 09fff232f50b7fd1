"""The data card: what a prepared folder holds and what was kept out of it, for people to read."""

from collections.abc import Iterator
from typing import Any

SHOWN_FILES = 40
"""Excluded files in the card; `index.json` has all."""

SHOWN_CHARACTERS = 160


def card(index: dict[str, Any]) -> str:
    """Write `index.json` as a page of Markdown."""
    counts, sources = index["counts"], index["sources"]
    words = sum(entry["words"] for entry in sources.values())
    lines = [
        "# Prepared text",
        "",
        f"{counts['documents']:,} documents of {words:,} words, {counts['tokens']:,} tokens of a vocabulary of"
        f" {index['tokenizer']['vocab_size']:,} pieces, {counts['text_bytes'] / 1e6:,.1f} MB of text;"
        f" {index['splits']['held_out']['documents']:,} documents are held out, chosen by the hash of their text.",
        "",
        *_table(sources),
        "",
        f"Left out: {counts['duplicates']:,} duplicates of documents, {counts['empty_documents']:,} documents without"
        f" text. {counts['replaced_bytes']:,} bytes were not UTF-8.",
        *(["", *overlap_lines(index["overlap"], SHOWN_FILES)] if "overlap" in index else []),
        "",
        "Made by `litebert prepare`; `index.json` has these numbers, and the hashes of all files.",
    ]
    return "\n".join(lines) + "\n"


def _table(sources: dict[str, dict[str, int]]) -> Iterator[str]:
    names = ("documents", "held_out_documents", "words", "tokens", "text_bytes", "duplicates")
    heads = ["source", "documents", "held out", "words", "tokens", "MB", "duplicates"]
    excluded = any("read_bytes" in counts for counts in sources.values())
    yield "| " + " | ".join([*heads, *(["overlap dropped"] if excluded else [])]) + " |"
    yield "|---" + "|---:" * (len(heads) - 1 + excluded) + "|"
    for source, counts in sources.items():
        cells = [f"{counts[name]:,}" if name != "text_bytes" else f"{counts[name] / 1e6:,.1f}" for name in names]
        if excluded:
            cells.append(f"{overlap_share(counts):.3%} ({counts['overlap_paragraphs']:,} paragraphs)")
        yield "| " + " | ".join([source.replace("|", "\\|"), *cells]) + " |"


def overlap_share(counts: dict[str, int]) -> float:
    """The share of a source's text, as it was read, that was dropped because excluded files have it."""
    return counts["overlap_bytes"] / counts["read_bytes"] if counts.get("read_bytes") else 0.0


def overlap_lines(overlap: dict[str, Any], most: int) -> Iterator[str]:
    """What was kept out, in words: totals, then at most so many files with an example each, the largest first."""
    files = overlap["by_file"]
    yield (
        f"{overlap['paragraphs']:,} paragraphs ({overlap['text_bytes'] / 1e3:,.1f} kB, {overlap['share']:.3%} of the"
        f" text as read; {overlap['documents']:,} documents as a whole) share {overlap['ngram_words']} words in a row"
        f" with {len(files)} of {overlap['files']:,} excluded files and were dropped"
    )
    yield (
        f"{overlap['texts']:,} excluded texts have {overlap['ngrams']:,} such rows of words;"
        f" {overlap['short_texts']:,} of 4 to {overlap['ngram_words'] - 1} words have none and cannot be found"
    )
    if files:
        yield ""
    for name in sorted(files, key=lambda name: -files[name]["paragraphs"])[:most]:
        example = files[name]["example"]
        words = example["words"]
        words = words if len(words) <= SHOWN_CHARACTERS else words[:SHOWN_CHARACTERS] + "…"
        yield f"- {name}: {files[name]['paragraphs']:,}, first in {example['document']}: “{words}”"
    if len(files) > most:
        yield f"- and {len(files) - most} more files"
