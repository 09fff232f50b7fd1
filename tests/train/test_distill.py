"""A student comes closer to its teacher; runs of teaching go on, and refuse, as those of pre-training do."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import litebert
from litebert.data.batches import DataSettings
from litebert.data.pairs import PairSettings
from litebert.data.prepare import prepare
from litebert.data.shards import TOKENIZER_FOLDER
from litebert.errors import CheckpointError, ConfigError, DataFolderError, InputError, ModelFolderError
from litebert.interop.huggingface import WEIGHTS, load_model, save_model
from litebert.interop.sentences import SENTENCE_FILES
from litebert.model.config import AlbertConfig
from litebert.text.tokenizer import load_tokenizer
from litebert.text.training import train_tokenizer
from litebert.train.distill import DistillSettings, distill
from litebert.train.hooks import read_metrics
from litebert.train.optimizers import OptimizerSettings
from litebert.train.parallel import World
from litebert.train.teaching import Student, TeachingObjective, TeachingSettings, divergence
from tests.models import random_model
from tests.runs import LOOP, launcher, same, start, weights, write_recipe

SHAPE = {"vocab_size": 2000, "embedding_size": 16, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}


def folder_of(prepared: Path, folder: Path, **fields: object) -> Path:
    """A random model that is saved with the data's tokenizer."""
    tokenizer = load_tokenizer(prepared / TOKENIZER_FOLDER)
    special = {"pad_token_id": tokenizer.pad_id, "bos_token_id": tokenizer.cls_id, "eos_token_id": tokenizer.sep_id}
    config = AlbertConfig.from_dict(SHAPE | special | fields)
    save_model(random_model(config, ("masked_lm",), seed=len(folder.name)), folder, tokenizer)
    return folder


@pytest.fixture(scope="module")
def teacher(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(prepared, tmp_path_factory.mktemp("models") / "teacher", num_hidden_layers=4, sharing="none")


@pytest.fixture(scope="module")
def student(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(prepared, tmp_path_factory.mktemp("models") / "student", num_hidden_layers=2)


def settings(prepared: Path, student: Path, teacher: Path, **changes: object) -> DistillSettings:
    base = DistillSettings(
        folders={str(prepared): 1.0},
        student=str(student),
        teacher=str(teacher),
        probes=False,
        data=DataSettings(batch_size=8, pairs=PairSettings(length=32, objective="none")),
        optimizer=OptimizerSettings(name="adamw", learning_rate=3e-3),
        loop=LOOP,
    )
    return replace(base, **changes)


def held_out(run: Path) -> list[dict[str, float]]:
    return [line for line in read_metrics(run) if line["kind"] == "held_out"]


def test_the_student_comes_closer(prepared: Path, student: Path, teacher: Path, tmp_path: Path) -> None:
    teaching = TeachingSettings(relations=1, sentence=1, similarity=1, masked_lm=0.5)
    loop = replace(LOOP, steps=80, evaluate_every=10, checkpoint_every=80)
    wanted = settings(prepared, student, teacher, teaching=teaching, loop=loop)
    report = distill(wanted, tmp_path / "run")
    first, *_, last = held_out(tmp_path / "run")
    for name in ("hidden", "relations", "sentence", "similarity", "masked_lm", "loss"):
        assert last[name] < first[name]
    assert last["cosine"] > first["cosine"]
    assert report.held_out["cosine"] == pytest.approx(last["cosine"], abs=1e-5)
    before, after = load_model(student), load_model(tmp_path / "run" / "model")
    assert before.config == after.config
    assert load_model(teacher).config.num_hidden_layers == 4


def test_spread_lengths_teach_the_same_in_bands(
    prepared: Path, student: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread = DataSettings(batch_size=8, pairs=PairSettings(length=64, objective="none", spread=True))
    wanted = settings(prepared, student, teacher, data=spread, loop=replace(LOOP, steps=3))
    assert len(spread.bands(1)) == 3
    losses = []
    for run in ("bands", "one"):
        distill(wanted, tmp_path / run)
        losses.append([line["loss"] for line in read_metrics(tmp_path / run) if line["kind"] == "train"])
        monkeypatch.setattr(DataSettings, "bands", lambda settings, parts: ())
    assert len(losses[0]) == 3
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_student_that_is_its_teacher_has_nothing_to_learn(prepared: Path, teacher: Path, tmp_path: Path) -> None:
    still = OptimizerSettings(name="adamw", learning_rate=1e-12)
    wanted = settings(prepared, teacher, teacher, optimizer=still, loop=replace(LOOP, steps=1))
    report = distill(wanted, tmp_path / "run")
    assert report.held_out["cosine"] == pytest.approx(1, abs=1e-5)
    assert report.held_out["hidden"] == pytest.approx(0, abs=1e-6)
    assert report.held_out["similarity"] == pytest.approx(0, abs=1e-5)
    assert report.held_out["nearest"] == 1
    assert report.held_out["unrelated"] < 1


def test_another_width_goes_through_projections_that_are_thrown_away(
    prepared: Path, teacher: Path, tmp_path: Path
) -> None:
    narrow = folder_of(prepared, tmp_path / "narrow", num_hidden_layers=2, hidden_size=16)
    wanted = settings(prepared, narrow, teacher, loop=replace(LOOP, steps=60, evaluate_every=20))
    report = distill(wanted, tmp_path / "run")
    first, *_, last = held_out(tmp_path / "run")
    assert last["cosine"] > first["cosine"] + 0.05
    assert not [name for name in weights(tmp_path / "run") if "projections" in name]
    assert load_model(report.model).config.hidden_size == 16
    distill(wanted, tmp_path / "again")
    assert same(weights(tmp_path / "run"), weights(tmp_path / "again"))


def test_sources_with_little_to_compare_are_evaluated_all_the_same(
    prepared: Path, student: Path, teacher: Path, tmp_path: Path
) -> None:
    """One of them has a single held-out sequence, which has no other one to be told from."""
    documents = [{"text": f"It is one of {words}, and short."} for words in ("two texts", "few lines")]
    (tmp_path / "one.jsonl").write_text("".join(json.dumps(document) + "\n" for document in documents))
    prepare([tmp_path / "one.jsonl"], prepared / TOKENIZER_FOLDER, tmp_path / "one", held_out=0.5, processes=1)
    wanted = settings(prepared, student, teacher, loop=replace(LOOP, steps=1, evaluate_every=1))
    for order in ((prepared, tmp_path / "one"), (tmp_path / "one", prepared)):
        run = tmp_path / f"run-{order[0].name}"
        distill(replace(wanted, folders={str(folder): 1.0 for folder in order}), run)
        (found,) = held_out(run)
        assert found["nearest"] == found[f"nearest/{prepared.name}"]
        assert "nearest/one" not in found
        assert found["cosine"] == pytest.approx((found["cosine/one"] + found[f"cosine/{prepared.name}"]) / 2, abs=1e-5)


def test_two_processes_teach_as_one_does(prepared: Path, teacher: Path, tmp_path: Path) -> None:
    """Through the same projections, whose weights no folder has."""
    narrow = folder_of(prepared, tmp_path / "narrow", num_hidden_layers=2, hidden_size=16)
    wanted = settings(prepared, narrow, teacher, teaching=TeachingSettings(sentence=1))
    distill(wanted, tmp_path / "one")
    process = start(write_recipe(wanted, tmp_path), tmp_path / "two", launcher=launcher(), stage="distill")
    message = process.communicate(timeout=120)[1]
    assert process.returncode == 0, message
    one, two = read_metrics(tmp_path / "one"), read_metrics(tmp_path / "two")
    assert len(one) == LOOP.steps + LOOP.steps // LOOP.evaluate_every
    for a, b in zip(one, two, strict=True):
        assert a["tokens"] == b["tokens"]
        for name in ("hidden", "sentence", "cosine"):
            assert a[name] == pytest.approx(b[name], abs=1e-5)


def test_what_is_not_taught_is_left_out_and_named(
    prepared: Path, student: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = replace(LOOP, steps=1)
    taught = distill(settings(prepared, student, teacher, loop=short), tmp_path / "run").model
    assert "has heads that are not taught, and are left out: masked_lm; teaching.masked_lm = 1 keeps" in (
        capsys.readouterr().err
    )
    assert not load_model(taught).heads
    masked = settings(prepared, student, teacher, loop=short, teaching=TeachingSettings(masked_lm=1))
    assert "masked_lm" in load_model(distill(masked, tmp_path / "masked").model).heads
    assert "left out" not in capsys.readouterr().err


def test_another_teacher_in_the_same_place_is_refused(
    prepared: Path, student: Path, teacher: Path, tmp_path: Path
) -> None:
    shutil.copytree(teacher, tmp_path / "teacher")
    wanted = settings(prepared, student, tmp_path / "teacher", loop=replace(LOOP, steps=2))
    distill(wanted, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-2")
    other = folder_of(prepared, tmp_path / "other", num_hidden_layers=4, sharing="none")
    shutil.copy(other / WEIGHTS, tmp_path / "teacher")
    with pytest.raises(CheckpointError, match="or with another teacher"):
        distill(wanted, tmp_path / "run", resume=True)


def test_similarities_ask_for_enough_sentences(prepared: Path, student: Path, teacher: Path, tmp_path: Path) -> None:
    similar = TeachingSettings(similarity=1.0)
    wanted = settings(prepared, student, teacher, teaching=similar, loop=replace(LOOP, steps=1))
    parts = replace(wanted, data=replace(wanted.data, micro_batches=8))
    with pytest.raises(ConfigError, match=r"of 8 parts each has fewer than 4: raise data\.batch_size"):
        distill(parts, tmp_path / "many")
    distill(wanted, tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"data\.micro_batches = 1, now it is 2"):
        distill(replace(wanted, data=replace(wanted.data, micro_batches=2)), tmp_path / "run", resume=True)


def test_the_last_layer_counts_as_often_as_it_is_told(prepared: Path, student: Path, teacher: Path) -> None:
    one, other = load_model(student), load_model(teacher)
    data = settings(prepared, student, teacher).data
    objective = TeachingObjective(
        Student(one, other.config),
        other,
        data,
        TeachingSettings(last_layer=3.0),
        nullcontext,
        compiled=False,
        world=World(),
    )
    assert objective._shares() == pytest.approx([0.2, 0.2, 0.6])


def test_a_model_says_all_that_it_was_trained_on(prepared: Path, student: Path, teacher: Path, tmp_path: Path) -> None:
    legs, folder = [], student
    for leg in ("first", "second"):
        legs.append(distill(settings(prepared, folder, teacher, loop=replace(LOOP, steps=2)), tmp_path / leg))
        folder = legs[-1].model
    extra = json.loads((folder / "litebert.json").read_text())["extra"]
    assert extra["trained_steps"] == 4
    assert extra["trained_tokens"] == sum(leg.tokens for leg in legs)


@pytest.mark.parametrize(
    ("teaching", "width", "becomes"),
    [
        ({"sentence": 1.0}, 32, True),
        ({"sentence": 1.0}, 16, False),
        ({"similarity": 1.0}, 16, True),
        ({"hidden": 1.0}, 32, False),
    ],
)
def test_a_model_that_was_taught_embeddings_is_for_them(
    prepared: Path, tmp_path: Path, teaching: dict[str, float], width: int, becomes: bool
) -> None:
    tokenizer = load_tokenizer(prepared / TOKENIZER_FOLDER)
    special = {"pad_token_id": tokenizer.pad_id, "bos_token_id": tokenizer.cls_id, "eos_token_id": tokenizer.sep_id}
    config = AlbertConfig.from_dict(SHAPE | special | {"num_hidden_layers": 1})
    save_model(random_model(config, ("embed",)), tmp_path / "teacher", tokenizer)
    student = folder_of(prepared, tmp_path / "student", num_hidden_layers=1, hidden_size=width)
    short = replace(LOOP, steps=1, evaluate_every=1)
    wanted = settings(prepared, student, tmp_path / "teacher", teaching=TeachingSettings(**teaching), loop=short)
    taught = distill(wanted, tmp_path / "run").model
    assert (taught / SENTENCE_FILES[0]).exists() == becomes
    if becomes:
        predictor = litebert.load(taught)
        assert (predictor.task, predictor.windowing.length) == ("embed", wanted.data.pairs.length)


def test_a_taught_model_is_for_embeddings_where_its_student_was(
    prepared: Path, student: Path, teacher: Path, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(student)
    config = replace(load_model(student).config, sentence_pooling="first", sentence_normalized=False)
    save_model(random_model(config, ("embed",)), tmp_path / "embedder", tokenizer, {"length": 48})
    short = replace(LOOP, steps=1)
    taught = distill(settings(prepared, tmp_path / "embedder", teacher, loop=short), tmp_path / "run").model
    predictor = litebert.load(taught)
    assert (predictor.task, predictor.windowing.length) == ("embed", 48)
    assert (predictor.model.config.sentence_pooling, predictor.model.config.sentence_normalized) == ("first", False)
    for name in SENTENCE_FILES:
        assert (taught / name).read_bytes() == (tmp_path / "embedder" / name).read_bytes()
    plain = distill(settings(prepared, student, teacher, loop=short), tmp_path / "other").model
    assert not (plain / "modules.json").exists()


def test_layers_are_matched_by_their_share_of_the_depth() -> None:
    shape = AlbertConfig.from_dict(SHAPE | {"num_hidden_layers": 2})
    two, deep = random_model(shape, ()), replace(shape, num_hidden_layers=4)
    assert Student(two, deep).matches == [(0, 0), (1, 2), (2, 4)]
    assert not Student(two, deep).projections
    assert len(Student(two, replace(deep, hidden_size=48)).projections) == 3


COMPARISONS = DataSettings(batch_size=8, pairs=PairSettings(length=48, objective="comparison"))


def test_two_texts_are_compared_as_the_teachers_vectors_are(
    prepared: Path, student: Path, teacher: Path, tmp_path: Path
) -> None:
    teaching = TeachingSettings(sentence=1, comparison=16)
    loop = replace(LOOP, steps=80, evaluate_every=10, checkpoint_every=80)
    wanted = settings(prepared, student, teacher, teaching=teaching, loop=loop, data=COMPARISONS)
    distill(wanted, tmp_path / "run")
    first, *_, last = held_out(tmp_path / "run")
    for name in ("hidden", "sentence", "comparison", "loss"):
        assert last[name] < first[name]
    assert not [name for name in weights(tmp_path / "run") if "comparison" in name]


def test_of_texts_to_compare_only_their_similarity_is_learnt(prepared: Path, teacher: Path, tmp_path: Path) -> None:
    """A student that is its teacher says all of single texts as the teacher does, beside pairs too."""
    still = OptimizerSettings(name="adamw", learning_rate=1e-12)
    wanted = settings(prepared, teacher, teacher, optimizer=still, loop=replace(LOOP, steps=1), data=COMPARISONS)
    report = distill(replace(wanted, teaching=TeachingSettings(comparison=1)), tmp_path / "run")
    assert report.held_out["cosine"] == pytest.approx(1, abs=1e-5)
    assert report.held_out["hidden"] == pytest.approx(0, abs=1e-6)
    assert report.held_out["similarity"] == pytest.approx(0, abs=1e-5)
    assert 0.2 < report.held_out["comparison"] < 1  # an untrained head says 0, random models that all texts are alike


def test_what_texts_cannot_be_compared_is_refused(
    prepared: Path, student: Path, teacher: Path, text: Path, stranger: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"data\.pairs\.objective is 'none'; set it to comparison"):
        settings(prepared, student, teacher, teaching=TeachingSettings(comparison=1))
    with pytest.raises(ConfigError, match="one by one"):
        settings(prepared, student, teacher, data=COMPARISONS, teaching=TeachingSettings(comparison=1, relations=1))
    wanted = settings(prepared, student, stranger, folders={str(text): 1.0}, data=COMPARISONS)
    for teaching in (TeachingSettings(comparison=1), TeachingSettings(relations=1)):
        with pytest.raises(ConfigError, match="student and teacher have"):
            distill(replace(wanted, teaching=teaching), tmp_path / "run")
    with pytest.raises(ConfigError, match="single segments"):
        distill(wanted, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("compares", [False, True])
def test_it_goes_on_bit_by_bit(prepared: Path, student: Path, teacher: Path, tmp_path: Path, compares: bool) -> None:
    wanted = settings(prepared, student, teacher)
    if compares:
        wanted = replace(wanted, data=COMPARISONS, teaching=TeachingSettings(comparison=1))
    distill(wanted, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "model")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-12")
    distill(wanted, tmp_path / "run", resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "run"))
    with pytest.raises(CheckpointError, match=r"teaching.hidden = 1.0, now it is 2.0"):
        distill(replace(wanted, teaching=replace(wanted.teaching, hidden=2.0)), tmp_path / "run", resume=True)


@pytest.mark.parametrize("compares", [False, True])
def test_how_a_step_is_divided_changes_only_the_similarities(
    prepared: Path, student: Path, teacher: Path, tmp_path: Path, compares: bool
) -> None:
    wanted = settings(prepared, student, teacher, loop=replace(LOOP, steps=2))
    teaching = TeachingSettings(relations=1, sentence=1, last_layer=3)
    if compares:
        wanted, teaching = replace(wanted, data=COMPARISONS), replace(teaching, relations=0, comparison=1)
    wanted = replace(wanted, teaching=teaching)
    distill(wanted, tmp_path / "one")
    distill(replace(wanted, data=replace(wanted.data, micro_batches=2)), tmp_path / "two")
    for a, b in zip(read_metrics(tmp_path / "one"), read_metrics(tmp_path / "two"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4)


@pytest.fixture(scope="module")
def text(prose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "library.jsonl"
    file.write_text("".join(json.dumps({"text": document}) + "\n" for document in prose[:60]), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def stranger(prose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher with a tokenizer of its own."""
    folder = tmp_path_factory.mktemp("stranger")
    tokenizer = train_tokenizer(prose[:60], folder / "tokenizer", vocab_size=700)
    fields = {"vocab_size": tokenizer.vocab_size, "num_hidden_layers": 4, "sharing": "none", "hidden_size": 48}
    config = AlbertConfig.from_dict(SHAPE | fields | {"pad_token_id": tokenizer.pad_id})
    save_model(random_model(config, (), seed=3), folder / "model", tokenizer)
    return folder / "model"


def test_a_teacher_with_another_tokenizer_teaches_from_text(
    text: Path, student: Path, stranger: Path, tmp_path: Path
) -> None:
    teaching = TeachingSettings(sentence=1, similarity=1, masked_lm=0.1)
    loop = replace(LOOP, steps=60, evaluate_every=10, checkpoint_every=20)
    wanted = settings(text, student, stranger, teaching=teaching, loop=loop)
    distill(wanted, tmp_path / "run")
    first, *_, last = held_out(tmp_path / "run")
    for name in ("hidden", "sentence", "loss"):
        assert last[name] < first[name]
    shutil.rmtree(tmp_path / "run" / "model")
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "checkpoints" / "step-60")
    for run in ("run", "again"):
        distill(wanted, tmp_path / run, resume=True)
    assert same(weights(tmp_path / "run"), weights(tmp_path / "again"))
    with pytest.raises(ConfigError, match="relations"):
        distill(replace(wanted, teaching=TeachingSettings(relations=1)), tmp_path / "other")


def test_text_and_shards_are_the_same_lesson(text: Path, teacher: Path, tmp_path: Path) -> None:
    """Read as text, a student that is its teacher has nothing to learn either."""
    still = OptimizerSettings(name="adamw", learning_rate=1e-12)
    wanted = settings(text, teacher, teacher, optimizer=still, loop=replace(LOOP, steps=1))
    report = distill(wanted, tmp_path / "run")
    assert report.held_out["cosine"] > 0.97  # a cut text may begin within a word, where the tokens differ
    assert report.held_out["hidden"] < 0.1


def test_text_that_cannot_be_read_leaves_nothing(prepared: Path, student: Path, teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        distill(settings(tmp_path / "none.jsonl", student, teacher), tmp_path / "run")
    pairs = DataSettings(batch_size=8, pairs=PairSettings(length=32))
    (tmp_path / "a.txt").write_text("Some text. It has two sentences.")
    with pytest.raises(ConfigError, match=r"set data.pairs.objective=none"):
        distill(settings(tmp_path / "a.txt", student, teacher, data=pairs), tmp_path / "run")
    both = replace(settings(prepared, student, teacher), folders={str(prepared): 1.0, str(tmp_path / "a.txt"): 1.0})
    with pytest.raises(ConfigError, match="either prepared folders or text"):
        distill(both, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_does_not_fit_is_refused(prepared: Path, student: Path, teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no teacher; name its folder, as in --teacher DIR"):
        distill(replace(settings(prepared, student, teacher), teacher=""), tmp_path / "a")
    with pytest.raises(ModelFolderError, match="nosuch"):
        distill(settings(prepared, student, tmp_path / "nosuch"), tmp_path / "a")
    long = DataSettings(batch_size=8, pairs=PairSettings(length=1024, objective="none"))
    with pytest.raises(ConfigError, match="positions for 512"):
        distill(settings(prepared, student, teacher, data=long), tmp_path / "b")
    other = train_tokenizer(["a sentence of its own kind"] * 50, tmp_path / "other", vocab_size=28)
    foreign = AlbertConfig.from_dict(SHAPE | {"vocab_size": other.vocab_size})
    save_model(random_model(foreign, ()), tmp_path / "foreign", other)
    with pytest.raises(DataFolderError, match="another tokenizer"):
        distill(settings(prepared, student, tmp_path / "foreign"), tmp_path / "c")
    again = replace(LOOP, activation_checkpointing=True)
    with pytest.raises(ConfigError, match="none can be computed again"):
        distill(replace(settings(prepared, student, teacher), loop=again), tmp_path / "a")
    odd = folder_of(prepared, tmp_path / "odd", hidden_size=33, num_attention_heads=3, num_hidden_layers=2)
    with pytest.raises(ConfigError, match="width of 32 cannot be divided among the student's 3 heads"):
        distill(settings(prepared, odd, teacher, teaching=TeachingSettings(relations=1)), tmp_path / "a")
    with pytest.raises(ConfigError, match="all weights"):
        TeachingSettings(hidden=0)
    assert not [tmp_path / name for name in "abc" if (tmp_path / name).exists()]


def test_embeddings_are_means_of_length_one(prepared: Path, student: Path) -> None:
    from litebert.evaluate.embeddings import sentence_vectors
    from litebert.model.packed import pack_lists

    model, tokenizer = load_model(student), load_tokenizer(student)
    texts = ["Return the value.", "word " * 300, "x"]
    vectors = sentence_vectors(model.albert, tokenizer, texts, max_length=64)
    assert vectors.shape == (3, 32)
    assert torch.allclose(torch.from_numpy(vectors).norm(dim=-1), torch.ones(3), atol=1e-5)
    ids = tokenizer.encode(texts[0]).ids
    with torch.no_grad():
        expected = torch.nn.functional.normalize(model.albert(pack_lists([ids])).mean(0), dim=-1)
    assert torch.allclose(torch.from_numpy(vectors[0]), expected, atol=1e-5)


def test_similarities_are_compared_in_fp32() -> None:
    """At a low temperature the last digits count, which bf16 has not."""
    draw = torch.Generator().manual_seed(1)
    mine, theirs = (torch.nn.functional.normalize(torch.randn(8, 32, generator=draw), dim=-1) for _ in range(2))
    expected = divergence(mine, theirs, torch.ones(8), 0.05)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(divergence(mine, theirs, torch.ones(8), 0.05), expected)
