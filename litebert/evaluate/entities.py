"""Entities: tags to spans and back, and precision, recall and F1 of whole entities, as conlleval computes them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

Scheme = Literal["IOB1", "IOB2", "IOBES"]

_ALIASES = {"L": "E", "U": "S", "M": "I", "W": "S"}
"""Other letters for the same: BILOU, BMEWO."""


class Chunk(NamedTuple):
    """An entity, in tokens or in characters, the end exclusive."""

    start: int
    end: int
    label: str


def parse_tag(tag: str) -> tuple[str, str] | None:
    """Divide "B-PER" into ("B", "PER"); "O" is ("O", ""). None: it is no such tag."""
    if tag in ("O", "o"):
        return "O", ""
    prefix, dash, label = tag.partition("-")
    prefix = _ALIASES.get(prefix, prefix)
    return (prefix, label) if dash and label and prefix in ("B", "I", "E", "S") else None


def chunks(tags: Sequence[str]) -> list[Chunk]:
    """The entities of a sentence's tags by conlleval's rules, which read every scheme and forgive broken ones.

    One begins at B and S, and at any other tag that follows O, the end of an entity, or another label; it ends at E
    and S, and before O, B, S or another label. Tjong Kim Sang and Buchholz 2000. Raises ValueError for what is
    no tag.
    """
    found: list[Chunk] = []
    start, before, label = None, "O", ""
    for at, tag in enumerate([*tags, "O"]):
        parsed = parse_tag(tag)
        if parsed is None:
            raise ValueError(f"{tag!r} is no tag")
        prefix, kind = parsed
        apart = prefix in ("O", "B", "S") or before in ("O", "E", "S") or kind != label
        if start is not None and apart:
            found.append(Chunk(start, at, label))
            start = None
        if prefix != "O" and start is None:
            start = at
        before, label = prefix, kind
    return found


def tags_of(spans: Iterable[Chunk], length: int, scheme: Scheme = "IOB2") -> list[str]:
    """Tags of a sentence of `length` tokens whose entities, which do not overlap, are given in tokens."""
    tags = ["O"] * length
    previous: Chunk | None = None
    for span in sorted(spans):
        for at in range(span.start, span.end):
            tags[at] = f"I-{span.label}"
        touches = previous is not None and previous.end == span.start and previous.label == span.label
        if scheme != "IOB1" or touches:
            tags[span.start] = f"B-{span.label}"
        if scheme == "IOBES":
            tags[span.end - 1] = f"{'S' if span.end - span.start == 1 else 'E'}-{span.label}"
        previous = span
    return tags


def violations(sentences: Iterable[Sequence[str]], scheme: Scheme) -> Iterator[tuple[int, int]]:
    """Yield (sentence, token) of every tag that is not what the scheme writes for the entities that are read."""
    for number, tags in enumerate(sentences):
        right = tags_of(chunks(tags), len(tags), scheme)
        for at, (given, meant) in enumerate(zip(tags, right, strict=True)):
            if parse_tag(given) != parse_tag(meant):
                yield number, at


def entity_metrics(gold: Sequence[Iterable[Chunk]], predicted: Sequence[Iterable[Chunk]]) -> dict[str, float]:
    """Compare the entities of each row: right are those with the same borders and the same label.

    `precision`, `recall` and `f1` over all entities, the same for each label as `LABEL_f1` and so on, with
    `LABEL_entities` (how many there are), `macro_f1` (mean over the labels of `gold`), `entities` and
    `predicted_entities`. A share of nothing is 0, as in conlleval.
    """
    right, there, given = Counter[str](), Counter[str](), Counter[str]()
    for one, other in zip(gold, predicted, strict=True):
        gold_spans, spans = set(one), set(other)
        there.update(span.label for span in gold_spans)
        given.update(span.label for span in spans)
        right.update(span.label for span in gold_spans & spans)
    metrics = _shares(right.total(), given.total(), there.total())
    per_label = {label: _shares(right[label], given[label], there[label]) for label in sorted(there | given)}
    metrics["macro_f1"] = sum(per_label[label]["f1"] for label in there) / max(len(there), 1)
    metrics |= {"entities": float(there.total()), "predicted_entities": float(given.total())}
    of_labels: dict[str, float] = {}
    for label, shares in per_label.items():
        of_labels |= {f"{label}_{name}": value for name, value in shares.items()}
        of_labels[f"{label}_entities"] = float(there[label])
    return metrics | {name: value for name, value in of_labels.items() if name not in metrics}  # a label may be "macro"


def _shares(right: int, given: int, there: int) -> dict[str, float]:
    precision, recall = right / given if given else 0.0, right / there if there else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}
