"""Retrieval beside trec_eval's definitions: by hand, by scikit-learn, and what is refused."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from litebert.errors import InputError
from litebert.evaluate.retrieval import ranked, read_judgements, retrieval_metrics, score_rankings
from litebert.tasks.scoring import score_files


def test_by_hand() -> None:
    """Two queries: the only relevant document at rank 2; grades 3 and 1 at ranks 3 and 1, one more not found."""
    judged = {"a": {"x": 1, "y": 0}, "b": {"p": 3, "q": 1, "r": 2}}
    metrics = retrieval_metrics(judged, {"a": ["y", "x"], "b": ["q", "z", "p"]})
    log = np.log2
    first, second = 1 / log(3), (1 + 3 / log(4)) / (3 + 2 / log(3) + 1 / log(4))
    assert metrics["ndcg@10"] == pytest.approx((first + second) / 2)
    assert metrics["mrr"] == pytest.approx((1 / 2 + 1) / 2)
    assert metrics["map"] == pytest.approx((1 / 2 + (1 + 2 / 3) / 3) / 2)
    assert (metrics["recall@1"], metrics["recall@5"]) == (pytest.approx(1 / 6), pytest.approx((1 + 2 / 3) / 2))
    assert metrics["queries"] == 2
    assert next(iter(metrics)) == "ndcg@10"


def test_a_query_without_a_relevant_document_counts_as_nothing_found(tmp_path: Path) -> None:
    """trec_eval averages over the queries that are judged and ranked, whether or not anything is relevant."""
    (tmp_path / "judged").write_text("q1 0 d1 1\nq2 0 d1 0\nq3 0 d1 0\n")
    (tmp_path / "run").write_text("q1 Q0 d1 1 1 me\nq2 Q0 d1 1 1 me\n")
    metrics = score_rankings(tmp_path / "run", tmp_path / "judged")
    assert (metrics["queries"], metrics["map"], metrics["ndcg@10"], metrics["recall@1"]) == (2, 0.5, 0.5, 0.5)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.floats(0, 1, width=32)),
        min_size=12,
        max_size=40,
        unique_by=lambda pair: pair[1],
    )
)
def test_equal_to_scikit_learn(documents: list[tuple[int, float]]) -> None:
    judged = {f"{i:02}": grade for i, (grade, _) in enumerate(documents)}
    if not any(judged.values()):
        return
    ranking = ranked({f"{i:02}": score for i, (_, score) in enumerate(documents)})
    found = retrieval_metrics({"q": judged}, {"q": ranking})
    grades, scores = (np.array([row[part] for row in documents]) for part in range(2))
    for k in (1, 5, 10):
        assert found[f"ndcg@{k}"] == pytest.approx(ndcg_score([grades], [scores], k=k))
    assert found["map"] == pytest.approx(average_precision_score(grades > 0, scores))


def test_equal_scores_are_ranked_by_name_as_trec_eval_does() -> None:
    assert ranked({"1": 0.5, "10": 0.5, "2": 0.5, "a": 1.0}) == ["a", "2", "10", "1"]
    assert ranked({"a": 0.123456789, "b": 0.1234567889}) == ["b", "a"], "equal in the single precision of trec_eval"


def test_documents_that_are_worse_than_irrelevant_count_as_irrelevant() -> None:
    """As TREC's judgements of spam, below 0."""
    metrics = retrieval_metrics({"q": {"spam": -2, "x": 1}}, {"q": ["spam", "x"]})
    assert metrics == retrieval_metrics({"q": {"spam": 0, "x": 1}}, {"q": ["spam", "x"]})
    assert metrics["mrr"] == 0.5


def test_rankings_that_are_none() -> None:
    with pytest.raises(InputError, match="no rankings"):
        retrieval_metrics({"q": {"x": 1}}, {})
    with pytest.raises(InputError, match="the ranking for 'q' has a document twice"):
        retrieval_metrics({"q": {"x": 1}}, {"q": ["x", "x"]})


def test_all_forms_of_files_say_the_same(tmp_path: Path) -> None:
    forms = {
        "trec": "q1 0 d1 1\nq1 0 d2 0\nq2 0 d3 2\n",
        "short": "q1 d1 1\nq1 d2 0\n\nq2 d3 2\n",
        "beir.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\nq2\td3\t2\n",
    }
    run = "q1 Q0 d2 1 9.5 me\nq1 Q0 d1 2 9.1 me\nq2 Q0 d3 1 3 me\nq9 Q0 d3 1 3 me\n"
    scores = {"q1": {"d1": 9.1, "d2": 9.5}, "q2": {"d3": 3}}
    (tmp_path / "run").write_text(run)
    (tmp_path / "run.json").write_text(json.dumps(scores))
    results = []
    for name, text in forms.items():
        (tmp_path / name).write_text(text)
        assert read_judgements(tmp_path / name) == {"q1": {"d1": 1, "d2": 0}, "q2": {"d3": 2}}
        results += [score_files(tmp_path / one, tmp_path / name, task="retrieval") for one in ("run", "run.json")]
    assert all(result == results[0] for result in results)
    assert results[0]["mrr"] == 0.75


@pytest.mark.parametrize(
    ("run", "judged", "said"),
    [
        ("q1 Q0 d1 1 1 me\n", "q1 0 d1 1\nq2 0 d1 1\n", "lacks rankings for 1 of 2 queries .the first: 'q2'."),
        ("q1 Q0 d1 1 1\n", "q1 0 d1 1\n", "line 1: 5 columns are no line of a run"),
        ("q1 Q0 d1 1 nan me\n", "q1 0 d1 1\n", "line 1: the score 'nan' is no number"),
        ("q1 Q0 d1 1 1 me\nq1 Q0 d1 2 1 me\n", "q1 0 d1 1\n", "line 2: document 'd1' stands twice under query 'q1'"),
        ("q1 Q0 d1 1 1 me\n", "q1 0 d1 yes\n", "line 1: the relevance 'yes' is no whole number"),
        ("q1 Q0 d1 1 1 me\n", f"q1 0 d1 {'9' * 400}\n", "line 1: the relevance '9+' is no whole number"),
        ("q1 Q0 d1 1 1 me\n", "q1 d1\n", "line 1: 2 columns are no judgement"),
        ("q1 Q0 d1 1 1 me\n", "q1 0 d1 0\n", "no document is relevant"),
        ("q1 Q0 d1 1 1 me\n", "", "judged is empty"),
        ("q1 Q0 d1 1 1 me\n", "query-id\tcorpus-id\tscore\n", "holds no judgements"),
    ],
)  # fmt: skip
def test_bad_files(tmp_path: Path, run: str, judged: str, said: str) -> None:
    (tmp_path / "run").write_text(run)
    (tmp_path / "judged").write_text(judged)
    with pytest.raises(InputError, match=said):
        score_rankings(tmp_path / "run", tmp_path / "judged")


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ('{"q1": {"d1": 1, "d1": 2}}', "'d1' is there twice"),
        ('{"q1": {"d1": true}}', "the score 'True' is no number"),
        (f'{{"q1": {{"d1": {"9" * 400}}}}}', "the score '9+' is no number"),
    ],
)
def test_bad_objects_of_scores(tmp_path: Path, scores: str, said: str) -> None:
    (tmp_path / "run.json").write_text(scores)
    (tmp_path / "judged").write_text("q1 0 d1 1\n")
    with pytest.raises(InputError, match=said):
        score_files(tmp_path / "run.json", tmp_path / "judged", task="retrieval")


def test_byte_order_marks_mean_nothing(tmp_path: Path) -> None:
    for name, text in (("run", "q1 Q0 d1 1 1 me\n"), ("judged", "query-id\tcorpus-id\tscore\nq1\td1\t1\n")):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
    assert score_files(tmp_path / "run", tmp_path / "judged", task="retrieval")["ndcg@10"] == 1


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "judged").write_text("q 0 d 1\n")
    (tmp_path / "bytes").write_bytes(b"q \xff")
    (tmp_path / "list.json").write_text("[]")
    for name, said in (
        ("none", "cannot be read"),
        ("bytes", "byte 0xff at 2 of the line is not UTF-8"),
        ("list.json", "no JSON object"),
    ):
        with pytest.raises(InputError, match=said):
            score_rankings(tmp_path / name, tmp_path / "judged")


def test_the_judgements_of_cranfield(litebert_data: Path) -> None:
    """A ranking of the judged documents by their grades is perfect, backwards it is not."""
    judged = read_judgements(litebert_data / "cranfield" / "QRelsCorrectedforTRECeval")
    assert len(judged) == 225
    best = {query: ranked(documents) for query, documents in judged.items()}
    assert retrieval_metrics(judged, best)["ndcg@100"] == pytest.approx(1)
    worst = {query: ranking[::-1] for query, ranking in best.items()}
    assert retrieval_metrics(judged, worst)["ndcg@100"] < 1


def test_names_with_spaces_in_a_table_and_packed_runs(tmp_path: Path) -> None:
    table = tmp_path / "qrels.tsv"
    table.write_text("query-id\tcorpus-id\tscore\nq 1\tPLAIN 12\t1\nq 1\tPLAIN 13\u2028\t0\n", encoding="utf-8")
    assert read_judgements(table) == {"q 1": {"PLAIN 12": 1, "PLAIN 13": 0}}
    table.write_text("q1 0 d1 1\nq1\t0\td2\t2\n")
    assert read_judgements(table) == {"q1": {"d1": 1, "d2": 2}}
    with gzip.open(tmp_path / "run.gz", "wt") as file:
        file.write("q1 Q0 d2 1 0.5 x\nq1 Q0 d1 2 0.25 x\n")
    assert score_rankings(tmp_path / "run.gz", table)["ndcg@10"] == 1
