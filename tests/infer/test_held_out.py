"""Held-out text by source: each source's documents alone, the whole their mean, and what is refused."""

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from litebert.cli import main
from litebert.data.batches import DataSettings, SpecialIds, WindowSource, held_out_batches
from litebert.data.masking import MaskSettings
from litebert.data.pairs import PairSettings
from litebert.data.prepare import prepare
from litebert.data.shards import TOKENIZER_FOLDER, open_corpus
from litebert.errors import DataFolderError, ModelFolderError
from litebert.infer.held_out import held_out_documents
from litebert.infer.judging import judge_model
from litebert.infer.predictor import load
from litebert.model.device import autocast
from litebert.text.tokenizer import load_tokenizer
from litebert.train.objective import PretrainObjective
from tests.labelled import small_model


@pytest.fixture(scope="module")
def folder(prose: list[str], prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources of prose; the third has numbers alone."""
    texts = tmp_path_factory.mktemp("texts")
    numbers = [" ".join(f"{i * n}." for i in range(1, 60)) for n in range(1, 40)]
    for name, part in (("a", prose[:20]), ("b", prose[20:40]), ("numbers", numbers)):
        (texts / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in part))
    out = texts / "data"
    prepare([texts], prepared / TOKENIZER_FOLDER, out, held_out=0.3, processes=1, shard_tokens=4000)
    return out


@pytest.fixture(scope="module")
def model(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("models") / "m", load_tokenizer(prepared / TOKENIZER_FOLDER))


def test_each_source_is_what_a_folder_of_it_alone_gives(
    folder: Path, model: Path, prepared: Path, tmp_path: Path
) -> None:
    metrics = judge_model(model, folder)
    assert list(metrics["sources"]) == ["a", "b", "numbers"]
    for name, found in metrics["sources"].items():
        alone = tmp_path / name
        prepare([folder.parent / f"{name}.jsonl"], prepared / TOKENIZER_FOLDER, alone, held_out=0.3, processes=1)
        (only,) = judge_model(model, alone)["sources"].items()
        assert only == (name, found | {"unigram_loss": only[1]["unigram_loss"]}), "which is that of the folder's text"
        assert found["documents"] == open_corpus(alone).split("held_out").num_documents
    assert judge_model(model, folder) == metrics


def test_the_whole_is_the_mean_over_all_that_was_read(folder: Path, model: Path) -> None:
    metrics = judge_model(model, folder)
    sources = metrics["sources"].values()
    masked = dict.fromkeys(("mlm_loss", "mlm_accuracy", "unigram_loss"), "masked_tokens")
    for name, weight in (masked | {"order_accuracy": "pairs"}).items():
        mean = np.average([row[name] for row in sources], weights=[row[weight] for row in sources])
        assert metrics[name] == pytest.approx(mean)
    split = open_corpus(folder).split("held_out")
    assert metrics["documents"] == split.num_documents
    text = metrics["tokens"] - 3 * metrics["pairs"]  # [CLS] and two [SEP]; sequences of one segment have one less
    assert 0.7 * split.num_tokens < text <= split.num_tokens
    assert metrics["masked_tokens"] == pytest.approx(0.15 * text, rel=0.1)


def test_a_source_has_the_loss_that_the_objective_of_training_says(folder: Path, model: Path) -> None:
    loaded = load(model)
    pairs = PairSettings(length=loaded.model.config.max_position_embeddings)  # fewer than 128
    settings = DataSettings(batch_size=32, pairs=pairs, masking=MaskSettings(unit="word"))
    objective = PretrainObjective(loaded.model, settings, lambda: autocast("fp32", loaded.device), compiled=False)
    places = held_out_documents(open_corpus(folder))
    special = SpecialIds.of(loaded.tokenizer)
    source = WindowSource({folder: 1.0}, special, settings, 0, "held_out", places["numbers"])
    batches = list(held_out_batches(source, 10**9))
    expected = objective.evaluate(batches)
    found = judge_model(model, folder)["sources"]["numbers"]
    assert {name: found[name] for name in expected} == expected
    pieces = Counter(id for shard in open_corpus(folder).split("train").shards for id in shard.tokens.tolist())
    total = pieces.total() + loaded.tokenizer.vocab_size
    losses = [-math.log((pieces[id] + 1) / total) for batch in batches for id in batch.masked_labels.tolist()]
    assert found["unigram_loss"] == pytest.approx(sum(losses) / len(losses))


def test_the_command_ends_with_one_object(folder: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "--model", str(model), "--data", str(folder)])
    assert not stop.value.code
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"mlm_loss", "mlm_accuracy", "order_accuracy", "sources"} <= printed.keys()


def test_what_does_not_fit_is_refused(
    folder: Path, model: Path, prepared: Path, prose: list[str], tmp_path: Path
) -> None:
    from litebert.text.training import train_tokenizer

    train_tokenizer(prose[:20], tmp_path / "other", vocab_size=500)
    foreign = small_model(tmp_path / "foreign", load_tokenizer(tmp_path / "other"))
    with pytest.raises(DataFolderError, match="prepared with another tokenizer"):
        judge_model(foreign, folder)
    (tmp_path / "a.txt").write_text("One sentence. Another one.")
    prepare([tmp_path / "a.txt"], prepared / TOKENIZER_FOLDER, tmp_path / "bare", held_out=0, processes=1)
    with pytest.raises(DataFolderError, match=r"nothing is held out; prepare .* --held-out"):
        judge_model(model, tmp_path / "bare")
    with pytest.raises(DataFolderError, match="no prepared data folder"):
        judge_model(model, tmp_path)
    with pytest.raises(ModelFolderError, match="or give a prepared folder"):
        judge_model(model, tmp_path / "a.txt")
