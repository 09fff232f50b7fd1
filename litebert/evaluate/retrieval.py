"""Retrieval: ranked documents beside judgements, with the numbers of trec_eval (Voorhees and Harman 2005).

Judgements are TREC's qrels (query, iteration, document, relevance), the same without the iteration, or BEIR's table
with its header. Rankings are TREC's runs (query, Q0, document, rank, score, tag) or JSON {query: {document: score}}.
Documents are ranked by their scores; of equal ones the later name comes first, as in trec_eval.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from litebert.data.packing import opened, split_name
from litebert.data.rows import DoubledError, text_lines, without_doubles
from litebert.errors import InputError
from litebert.evaluate.metrics import Metrics

T = TypeVar("T")

Judgements = Mapping[str, Mapping[str, int]]
"""Relevance of documents by query; above 0 is relevant."""
Scores = Mapping[str, Mapping[str, float]]
"""Scores of documents by query."""

CUTOFFS = (1, 5, 10, 100)
HEADER = ("query-id", "corpus-id", "score")


def score_rankings(ranking: str | Path, judged: str | Path) -> Metrics:
    """Score a file of rankings beside a file of judgements.

    Raises InputError for lines that are none of their kind, for documents that are ranked or judged twice, and for
    queries that are judged and not ranked.
    """
    judgements, scores = read_judgements(Path(judged)), read_scores(Path(ranking))
    wanted = [query for query, documents in judgements.items() if max(documents.values()) > 0]
    if not wanted:
        raise InputError(f"{judged}: no document is relevant for any query; give judgements above 0")
    missing = [query for query in wanted if query not in scores]
    if missing:
        raise InputError(
            f"{ranking} lacks rankings for {len(missing):,} of {len(wanted):,} queries (the first: {missing[0]!r}); "
            "give one for each that has a relevant document"
        )
    return retrieval_metrics(judgements, {query: ranked(scores[query]) for query in judgements if query in scores})


def retrieval_metrics(judgements: Judgements, rankings: Mapping[str, Sequence[str]]) -> Metrics:
    """Means over the queries that are judged and ranked, 0 where no document is relevant, as in trec_eval: `ndcg@10`
    first (gains as judged, discounted by the logarithm of the rank: Järvelin and Kekäläinen 2002), `mrr`, `map`, and
    nDCG and recall at other ranks. Raises InputError where nothing is ranked, or a document twice."""
    if not rankings:
        raise InputError("there are no rankings to score: give one for each query")
    for query, ranking in rankings.items():
        if len(set(ranking)) < len(ranking):
            raise InputError(f"the ranking for {query!r} has a document twice: give each its one place")
    rows = [_of_query(judgements[query], ranking) for query, ranking in rankings.items()]
    means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    return {"ndcg@10": means["ndcg@10"]} | means | {"queries": float(len(rows))}


def ranked(scores: Mapping[str, float]) -> list[str]:
    """Documents by falling score, of equal ones the later name first; as trec_eval does, which keeps scores in single
    precision, so that more of them are equal."""
    with np.errstate(over="ignore"):
        single = {document: float(np.float32(score)) for document, score in scores.items()}
    return sorted(single, key=lambda document: (single[document], document), reverse=True)


def _of_query(judged: Mapping[str, int], ranking: Sequence[str]) -> Metrics:
    gains = [max(judged.get(document, 0), 0) for document in ranking]
    ideal = sorted((gain for gain in judged.values() if gain > 0), reverse=True)
    hits = [rank for rank, gain in enumerate(gains, 1) if gain > 0]
    relevant = max(len(ideal), 1)
    metrics = {f"ndcg@{k}": _discounted(gains[:k]) / (_discounted(ideal[:k]) or 1.0) for k in CUTOFFS}
    metrics |= {f"recall@{k}": sum(rank <= k for rank in hits) / relevant for k in CUTOFFS}
    precisions = [number / rank for number, rank in enumerate(hits, 1)]
    return metrics | {"mrr": 1 / hits[0] if hits else 0.0, "map": sum(precisions) / relevant}


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def read_judgements(path: Path) -> dict[str, dict[str, int]]:
    """Read judgements of any of the forms above."""
    found: dict[str, dict[str, int]] = {}
    for number, cells in _lines(path):
        if number == 1 and tuple(cells) == HEADER:
            continue
        where = f"{path}, line {number}"
        if len(cells) not in (3, 4):
            raise InputError(
                f"{where}: {len(cells)} columns are no judgement; write query, iteration, document, relevance"
            )
        try:
            relevance = int(cells[-1])
            _discounted([relevance])
        except (ValueError, OverflowError):
            raise InputError(f"{where}: the relevance {cells[-1][:60]!r} is no whole number, such as 1") from None
        _put(found, cells[0], cells[-2], relevance, where)
    if not found:
        raise InputError(f"{path} holds no judgements; write query, iteration, document, relevance, a line each")
    return found


def read_scores(path: Path) -> dict[str, dict[str, float]]:
    """Read scores of either form."""
    if split_name(path.name)[1] == ".json":
        return _read_json(path)
    found: dict[str, dict[str, float]] = {}
    for number, cells in _lines(path):
        where = f"{path}, line {number}"
        if len(cells) != 6:
            raise InputError(
                f"{where}: {len(cells)} columns are no line of a run; write query, Q0, document, rank, score, tag"
            )
        _put(found, cells[0], cells[2], _finite(cells[4], where), where)
    return found


def _read_json(path: Path) -> dict[str, dict[str, float]]:
    with opened(path) as file:
        content = file.read()
    try:
        values = json.loads(content, object_pairs_hook=without_doubles)
    except DoubledError as error:
        raise InputError(f"{path}: {error} is there twice; leave one of them out") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({error}); write {{query: {{document: score}}}}") from None
    if not isinstance(values, dict) or not all(isinstance(documents, dict) for documents in values.values()):
        raise InputError(f"{path} is no JSON object of scores; write {{query: {{document: score}}}}")
    return {
        query: {document: _finite(score, f"{path}, query {query!r}") for document, score in documents.items()}
        for query, documents in values.items()
    }


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The numbers and cells of the lines that are not empty: between tabs where these make a table, else between any
    spaces."""
    with opened(path) as file:
        for number, line in text_lines(file, str(path)):
            cells = line.rstrip("\r\n").split("\t")
            if line.strip():
                yield number, [cell.strip() for cell in cells] if len(cells) > 2 else line.split()


def _finite(value: object, where: str) -> float:
    try:
        score = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score):
        raise InputError(f"{where}: the score {str(value)[:60]!r} is no number that can be computed with")
    return score


def _put(found: dict[str, dict[str, T]], query: str, document: str, value: T, where: str) -> None:
    documents = found.setdefault(query, {})
    if document in documents:
        raise InputError(f"{where}: document {document!r} stands twice under query {query!r}; leave one of them out")
    documents[document] = value
