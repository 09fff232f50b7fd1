"""Sentence embeddings: rows, losses against plain arithmetic, steps in parts, three ways to learn, what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor

import litebert
from litebert.cli import main
from litebert.data.examples import SequenceBatch
from litebert.data.labelled import Columns
from litebert.data.rows import read_rows
from litebert.errors import InputError
from litebert.infer.judging import judge_model
from litebert.infer.predictor import Predictor, predict_file
from litebert.interop.huggingface import read_config, read_model
from litebert.model.heads import AlbertWithHeads
from litebert.model.outputs import to_packed
from litebert.tasks.embed import SCALE, Embed, cosent, in_batch_negatives
from litebert.tasks.task import Windowing
from litebert.text.tokenizer import Tokenizer, load_tokenizer
from litebert.train.fit import Loss, take_step
from litebert.train.optimizers import OptimizerSettings, build_optimizer
from tests.labelled import BAD, GOOD, small_model, write_jsonl
from tests.tasks.conftest import Tune

TASK = Embed()
GLAD, CROSS = GOOD.strip().splitlines(), BAD.strip().splitlines()


def scored() -> list[dict[str, Any]]:
    """Opinions of one mood are alike."""
    rows = []
    for i in range(len(GLAD)):
        other = (i + 5) % len(GLAD)
        rows.append({"sentence1": GLAD[i], "sentence2": GLAD[other], "score": 4.0 + i / 32})
        rows.append({"sentence1": CROSS[other], "sentence2": CROSS[i], "score": 3.5 + i / 32})
        rows.append({"sentence1": GLAD[i], "sentence2": CROSS[other], "score": i / 32})
    return rows


def pairs() -> list[dict[str, Any]]:
    """A sentence and its first half belong together."""
    return [{"anchor": text, "positive": text[: len(text) // 2]} for text in GLAD + CROSS]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "scored.jsonl", scored())


# --- losses ---


def test_cosent_is_its_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    cosines, scores = torch.rand(7, generator=generator), torch.tensor([1.0, 2.0, 2.0, 0.0, 5.0, 1.0, 3.0])
    total = 1.0
    for i in range(7):
        for j in range(7):
            if scores[i] < scores[j]:
                total += float(torch.exp(SCALE * (cosines[i] - cosines[j])))
    assert float(cosent(cosines, scores)) == pytest.approx(np.log(total), rel=1e-5)
    assert float(cosent(cosines, torch.ones(7))) == 0.0


def test_in_batch_negatives_are_a_softmax_over_the_others_texts() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (F.normalize(torch.randn(4, 6, generator=generator), dim=-1) for _ in range(2))
    texts = torch.tensor([[0, 1], [2, 3], [4, 5], [6, 7]])
    expected = F.cross_entropy(SCALE * first @ second.T, torch.arange(4), reduction="none")
    torch.testing.assert_close(in_batch_negatives(first, second, texts), expected)


def test_what_is_no_negative_is_left_out() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (F.normalize(torch.randn(4, 6, generator=generator), dim=-1) for _ in range(2))
    # Pair 1 has the second text of pair 0; pair 2 has the first text of pair 0; the second of pair 3 is the first of 0.
    texts = torch.tensor([[0, 1], [2, 1], [0, 3], [4, 0]])
    found = in_batch_negatives(first, second, texts)
    logits = SCALE * first @ second.T
    others = [[0], [1, 2, 3], [2], [3, 0, 1, 2]]
    expected = [torch.logsumexp(logits[i, kept], 0) - logits[i, i] for i, kept in enumerate(others)]
    torch.testing.assert_close(found, torch.stack(expected))


def test_the_losses_are_those_of_sentence_transformers() -> None:
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses", reason="no peers extra")
    generator = torch.Generator().manual_seed(3)
    first, second = (F.normalize(torch.randn(9, 6, generator=generator), dim=-1) for _ in range(2))
    scores = torch.randint(0, 4, (9,), generator=generator).float()
    theirs = losses.CoSENTLoss(torch.nn.Module()).compute_loss_from_embeddings([first, second], scores)
    torch.testing.assert_close(cosent((first * second).sum(-1), scores), theirs)
    theirs = losses.MultipleNegativesRankingLoss(torch.nn.Module()).compute_loss_from_embeddings([first, second], None)
    torch.testing.assert_close(in_batch_negatives(first, second, torch.arange(18).view(9, 2)).mean(), theirs)


def outputs(model: AlbertWithHeads, batch: SequenceBatch) -> Tensor:
    return model.logits("embed", to_packed(batch, torch.device("cpu")))


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("rows", ["scored", "pairs", "texts"])
def test_how_a_step_is_divided_changes_nothing(
    rows: str, dropout: float, tokenizer: Tokenizer, start: Path, tmp_path: Path
) -> None:
    """The loss is that of the whole step, and its gradient that of plain arithmetic; texts are in windows."""
    written = {"scored": scored(), "pairs": pairs(), "texts": [{"text": text} for text in GLAD]}[rows]
    read = TASK.read(write_jsonl(tmp_path / "rows.jsonl", written), Columns())
    encoded = TASK.encode(read.inputs, tokenizer, Windowing(12))
    assert encoded.long_rows
    lesson = TASK.lesson(encoded, TASK.gold(read, encoded, ()), (), "auto")
    assert lesson.joint
    assert bool(lesson.dropout) == (rows == "texts")
    items, index = lesson.items, np.array([3, 1, 4, 0, 15, 9])
    whole = next(items.batches(index, 10_000))
    batches = list(items.examples.batches(whole.sequences, 60))
    assert len(batches) > 1

    def fresh() -> AlbertWithHeads:
        torch.manual_seed(0)
        return read_model(start, ("embed",), overrides={"hidden_dropout_prob": dropout}).model.train()

    plain = fresh()
    # The same masks need the same batches.
    found = torch.cat([outputs(plain, batch) for batch in (batches if dropout else [whole])])
    loss = lesson.loss(found, whole).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    model = fresh()
    optimizer = build_optimizer(model, OptimizerSettings(learning_rate=1e-3))
    gradients: dict[str, Tensor] = {}
    optimizer.step = lambda: gradients.update({n: p.grad for n, p in model.named_parameters() if p.grad is not None})  # type: ignore[method-assign]
    value = take_step(model, optimizer, items, index, Loss(outputs, lesson.loss, joint=True), 60, 0.0)
    assert value == pytest.approx(float(loss.detach()), rel=1e-5)
    expected = {name: p.grad for name, p in plain.named_parameters() if p.grad is not None}
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, atol=1e-5, rtol=1e-4)


# --- learning, judging, answering ---


def test_pairs_with_scores_are_learnt_and_the_folder_is_theirs_too(
    tune: Tune, start: Path, data: Path, tmp_path: Path
) -> None:
    before = _spearman(litebert.load(start, task="embed"))
    report = tune("embed", data, tmp_path / "out", epochs=16.0, learning_rate=1e-3)
    assert report.primary_metric == "spearman"
    measured = judge_model(tmp_path / "out", data)
    assert measured["spearman"] > max(0.8, before + 0.2)
    assert set(measured) == {"spearman", "pearson", "spread", "loss", "rows"}
    assert report.results[0].metrics["spearman"] == pytest.approx(measured["spearman"], abs=1e-4)
    predictor = litebert.load(tmp_path / "out")
    assert measured["spearman"] == pytest.approx(_spearman(predictor), abs=1e-4)
    peer = pytest.importorskip("sentence_transformers", reason="the peers extra is not installed")
    theirs = peer.SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(GLAD)
    np.testing.assert_allclose(_vectors(predictor, GLAD), theirs, atol=1e-5)


def _vectors(predictor: Predictor, texts: list[str]) -> Any:
    return np.stack([answer.embedding for answer in predictor.predict(texts)])


def _spearman(predictor: Predictor) -> float:
    """By hand, from the answers."""
    first, second = (_vectors(predictor, [row[name] for row in scored()]) for name in ("sentence1", "sentence2"))
    return float(spearmanr((first * second).sum(1), [row["score"] for row in scored()]).statistic)


def test_pairs_that_belong_together_are_learnt(tune: Tune, tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "pairs.jsonl", pairs())
    judged = [
        {"anchor": row["anchor"], "positive": other["positive"], "score": float(row is other)}
        for i, row in enumerate(pairs())
        for other in (row, pairs()[i - 1])
    ]
    dev = write_jsonl(tmp_path / "dev.jsonl", judged)
    report = tune("embed", train, tmp_path / "out", dev=dev, epochs=8.0, learning_rate=2e-3)
    assert report.columns == ("anchor", "positive", None)
    predictor = litebert.load(tmp_path / "out")

    first, second = (_vectors(predictor, [row[name] for row in pairs()]) for name in ("anchor", "positive"))
    assert float(((first @ second.T).argmax(1) == np.arange(len(first))).mean()) > 0.9


def test_single_texts_are_told_apart_under_dropout(tune: Tune, start: Path, data: Path, tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "texts.jsonl", [{"text": text} for text in GLAD + CROSS])
    report = tune("embed", train, tmp_path / "out", dev=data, epochs=6.0)
    assert report.columns == ("text", None, None)
    model = read_model(tmp_path / "out").model
    assert model.config.hidden_dropout_prob == read_model(start).model.config.hidden_dropout_prob == 0.0

    def crowding(predictor: Predictor) -> float:
        vectors = _vectors(predictor, GLAD + CROSS)
        return float((vectors @ vectors.T)[~np.eye(len(vectors), dtype=bool)].mean())

    assert crowding(litebert.load(tmp_path / "out")) < crowding(litebert.load(start, task="embed")) - 0.1


def test_a_model_that_is_better_as_it_was_stays_so(
    tune: Tune, start: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tune("embed", data, tmp_path / "out", epochs=1.0, learning_rate=1e-30)
    assert report.results[0].epoch == 0
    said = capsys.readouterr().err
    assert "epoch 0: before training; dev spearman" in said
    assert "nothing that was learnt is better on the dev rows" in said
    before, after = litebert.load(start, task="embed"), litebert.load(tmp_path / "out")
    np.testing.assert_array_equal(_vectors(before, GLAD), _vectors(after, GLAD))
    looks = [json.loads(line) for line in (tmp_path / "out" / "training" / "metrics.jsonl").read_text().splitlines()]
    assert (looks[0]["step"], looks[0]["loss"]) == (0, None)


def test_files_in_and_out(tune: Tune, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tune("embed", data, tmp_path / "out", epochs=1.0, length=16, pooling="first")
    rows: list[dict[str, Any]] = [{"id": i, "text": text} for i, text in enumerate([*GLAD, "", " ".join(GLAD)])]
    count = predict_file(tmp_path / "out", write_jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "answers.parquet")
    records = [row.fields for row in read_rows(tmp_path / "answers.parquet")]
    assert count == len(records) == len(rows)
    notes = capsys.readouterr().err
    assert "rows are longer than 16 tokens; the vectors of their windows are averaged" in notes
    assert "1 rows have an empty text" in notes
    predictor = litebert.load(tmp_path / "out")
    assert predictor.model.config.sentence_pooling == "first"
    for row, record, answer in zip(rows, records, predictor.predict(rows), strict=True):
        assert (record["id"], record["text"]) == (row["id"], row["text"])
        np.testing.assert_allclose(record["embedding"], answer.embedding, atol=1e-6)
        assert np.linalg.norm(answer.embedding) == pytest.approx(1, abs=1e-5)
    tune("embed", data, tmp_path / "next", model=tmp_path / "out", epochs=1.0)
    following = litebert.load(tmp_path / "next")
    assert (following.windowing.length, following.model.config.sentence_pooling) == (16, "first"), "as it was"
    alone = predictor.predict({"sentence1": GLAD[0]})[0]
    np.testing.assert_allclose(alone.embedding, predictor.predict(GLAD[0])[0].embedding, atol=1e-6)


def test_another_task_reads_the_vectors_that_were_taught(tune: Tune, start: Path, data: Path, tmp_path: Path) -> None:
    tune("embed", data, tmp_path / "vectors", epochs=1.0)
    rows = [{"text": text, "label": label} for label, texts in (("good", GOOD), ("bad", BAD)) for text in texts]
    labelled = write_jsonl(tmp_path / "rows.jsonl", rows)

    def pooling(model: Path, **settings: Any) -> str:
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        tune("classify", labelled, out, model=model, epochs=1.0, **settings)
        return read_config(out).pooling

    assert pooling(tmp_path / "vectors") == "mean"
    assert pooling(tmp_path / "vectors", pooling="first") == "first"
    first = small_model(tmp_path / "plain", load_tokenizer(start), pooling="first")
    assert pooling(first) == "first", "as it was"


def test_equal_seeds_are_equal_numbers(tune: Tune, data: Path, tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "texts.jsonl", [{"text": text} for text in GLAD])
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        tune("embed", train, tmp_path / name, dev=data, seed=seed, epochs=1.0, max_tokens=100)
    a, b, c = ((tmp_path / name / "training" / "metrics.jsonl").read_bytes() for name in "abc")
    assert a == b != c.replace(b'"seed": 6', b'"seed": 5')


# --- rows ---


@pytest.mark.parametrize(
    ("row", "columns", "wanted"),
    [
        ({"text": "a", "text_pair": "b", "label": 1}, ("text", "text_pair", "label"), (("a", "b"), 1.0)),
        ({"sentence1": "a", "sentence2": "b", "score": "2.5"}, ("sentence1", "sentence2", "score"), (("a", "b"), 2.5)),
        ({"anchor": "a", "positive": "b"}, ("anchor", "positive", None), (("a", "b"), None)),
        ({"text": "a", "label": "x"}, ("text", None, None), (("a", "a"), None)),
    ],
)
def test_every_way_to_write_rows(tmp_path: Path, row: dict[str, Any], columns: Any, wanted: Any) -> None:
    read = TASK.read(write_jsonl(tmp_path / "rows.jsonl", [row]), Columns())
    assert read.columns == columns
    assert (read.inputs[0], read.targets[0]) == wanted


def test_dev_rows_may_have_other_usual_columns(tmp_path: Path) -> None:
    dev = write_jsonl(tmp_path / "dev.jsonl", [{"text": "a", "text_pair": "b", "label": 1}])
    for trained in (Columns("text"), Columns("anchor", "positive"), Columns("text", "text_pair", "other")):
        assert TASK.read(dev, Columns(), trained).columns == ("text", "text_pair", "label")


BAD_ROWS: list[tuple[str, list[dict[str, Any]], str]] = [
    ("train", [{"sentence2": "b", "score": float("nan")}], "line 4: nan in 'score' is no finite number"),
    ("train", [{"sentence2": "b", "score": "high"}], "line 4: 'high' in 'score' is no finite number"),
    ("train", [{"sentence2": "", "score": 2}], "line 4: the text in 'sentence2' is empty"),
    ("dev", [{"sentence2": None, "score": 2}], "line 4: the text in 'sentence2' is empty"),
    ("dev", [{"sentence2": "b"}], "line 4: no field 'score'"),
]


@pytest.mark.parametrize(("which", "rows", "message"), BAD_ROWS)
def test_rows_that_are_refused(
    which: str, rows: list[dict[str, Any]], message: str, start: Path, tmp_path: Path, capsys: Any
) -> None:
    good = [{"sentence1": "a", "sentence2": "b", "score": i} for i in range(3)]
    files = {name: write_jsonl(tmp_path / f"{name}.jsonl", list(good)) for name in ("train", "dev")}
    write_jsonl(files[which], [*good, *({"sentence1": "a", **row} for row in rows)])
    assert message in _refused(start, files["train"], files["dev"], tmp_path / "out", capsys)


@pytest.mark.parametrize(
    ("train", "dev", "message"),
    [
        ([{"score": 3}] * 4, [{"score": 1}, {"score": 2}], "train.jsonl: every score in 'score' is 3, from"),
        ([{"score": 3}, {"score": 1}], [{"score": 1}] * 2, "dev.jsonl: every score in 'score' is 1, from"),
        ([{"score": 3}, {"score": 1}], [{}, {}], "dev.jsonl has no column of scores; embed is judged by pairs"),
        ([{}, {}], [{}, {}], "dev.jsonl has no column of scores; embed is judged by pairs"),
        ([{}], [{"score": 1}, {"score": 2}], "train.jsonl has one row; embed learns from how rows differ"),
    ],
)
def test_files_that_are_refused(
    train: list[dict[str, Any]], dev: list[dict[str, Any]], message: str, start: Path, tmp_path: Path, capsys: Any
) -> None:
    files = [
        write_jsonl(
            tmp_path / f"{name}.jsonl", [{"sentence1": f"a{i}", "sentence2": "b"} | row for i, row in enumerate(rows)]
        )
        for name, rows in (("train", train), ("dev", dev))
    ]
    assert message in _refused(start, *files, tmp_path / "out", capsys)


def test_what_is_asked_wrongly(start: Path, tmp_path: Path, capsys: Any) -> None:
    texts = write_jsonl(tmp_path / "texts.jsonl", [{"text": "a", "score": 1}, {"text": "b", "score": 2}])
    assert "has no column of second texts" in _refused(start, texts, texts, tmp_path / "out", capsys)
    with pytest.raises(InputError, match=r"a score \('score'\) is that of two texts; name the second: --text-pair"):
        TASK.read(texts, Columns(label="score"))
    for arguments, message in (
        (["predict", str(texts), "--model", str(start), "--task", "classify"], "task 'classify': a model answers what"),
        (["predict", str(texts), "--model", str(start), "--task", "embed", "--text-pair", "score"], "one text a row"),
        (
            ["evaluate", "--predictions", str(texts), "--gold", str(texts), "--task", "embed"],
            "vectors are not scored",
        ),
    ):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert message in error
        assert len([line for line in error.splitlines() if line.startswith("litebert:")]) == 1


def _refused(start: Path, train: Path, dev: Path, out: Path, capsys: Any) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["finetune", "embed", "--model", str(start), "--train", str(train), "--dev", str(dev), "--out", str(out)])
    assert stop.value.code == 2
    assert not out.exists()
    error: str = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    return error


def test_real_pairs_are_learnt(litebert_data: Path, start: Path, tmp_path: Path) -> None:
    """STS-B, a few hundred rows, a random model: better than it was."""
    files = {}
    for split, count in (("train", 256), ("dev", 200)):
        lines = (litebert_data / "glue" / "STS-B" / f"{split}.tsv").read_text("utf-8").splitlines()
        files[split] = tmp_path / f"{split}.tsv"
        files[split].write_text("\n".join(lines[: count + 1]) + "\n", "utf-8")
    told = {"model": start, "out": tmp_path / "out", **files, "epochs": 2, "learning-rate": 1e-3}
    with pytest.raises(SystemExit) as stop:
        main(["finetune", "embed", *(word for name, value in told.items() for word in (f"--{name}", str(value)))])
    assert stop.value.code == 0
    report = json.loads((tmp_path / "out" / "training" / "report.json").read_text())
    assert report["primary_metric"] == "spearman"
    assert judge_model(tmp_path / "out", files["dev"])["spearman"] > 0.4
