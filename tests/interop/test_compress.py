"""Encoders of BERT's family made ALBERTs: exact where they can be, opened by transformers, told in numbers."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

import litebert
from litebert.cli import main
from litebert.data.sample import sample_sentences
from litebert.errors import ConfigError, InputError, OutputError
from litebert.interop import merge
from litebert.interop.compress import compress, covered_layers
from litebert.interop.huggingface import load_model, read_model, save_model
from litebert.interop.merge import aligned_attention, aligned_ffn, fit, low_rank, mean, watched
from litebert.interop.padded import AlbertForSequenceClassification, AlbertModel
from litebert.interop.sentences import LENGTHS, MODULES, PROMPTS, SENTENCE_FILES
from litebert.model.attention import packed_layout
from litebert.text.tokenizer import load_tokenizer
from tests.interop.test_family import make
from tests.models import config_of, packed_batch, random_model
from tests.tokenizers import write_tokenizer

transformers = pytest.importorskip("transformers", reason="the peers extra is not installed")

WIDTH, LAYERS = 32, 4


@pytest.fixture(scope="module")
def sources(prose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes model folders of any kind with random weights and a tokenizer, each once."""
    root = tmp_path_factory.mktemp("sources")
    wordpiece = write_tokenizer("wordpiece", prose[:40], root / "tokenizer", pieces=700)
    size = load_tokenizer(wordpiece).vocab_size

    def source(kind: str, end: str = "Model") -> Path:
        folder = root / f"{kind}-{end}"
        if not folder.exists():
            layers = "n_layers" if kind == "distilbert" else "num_hidden_layers"
            fields: dict[str, Any] = {layers: LAYERS, "max_position_embeddings": 66, "pad_token_id": 1}
            fields["num_labels"] = 2 if end == "ForQuestionAnswering" else 3
            make(kind, end, folder, vocab_size=size, **fields)
            for file in wordpiece.iterdir():
                shutil.copy(file, folder)
        return folder

    return source


@pytest.fixture(scope="module")
def text(prose: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    file = tmp_path_factory.mktemp("text") / "prose.txt"
    parts = [" ".join(part.split()) for doc in prose[:12] for part in doc.split("\n\n")]
    file.write_text("\n\n".join(parts[:250]))
    return [file]


def ids_of(folder: Path) -> dict[str, torch.Tensor]:
    tokenizer = load_tokenizer(folder)
    rows = [tokenizer.encode(line).ids for line in ("The name of the file.", "Return a list of all the names in it.")]
    length = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.pad_id] * (length - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize(
    ("kind", "sharing"),
    [("bert", "all"), ("bert", "groups=2"), ("bert", "none"), ("distilbert", "all"), ("electra", "all"),
     ("roberta", "groups=2"), ("mpnet", "all")],
)  # fmt: skip
def test_transformers_opens_the_result_with_equal_outputs(
    kind: str, sharing: str, sources: Callable[..., Path], text: list[Path], tmp_path: Path
) -> None:
    source = sources(kind)
    report = compress(source, tmp_path / "albert", embedding_size=12, sharing=sharing, texts=text)
    assert report.note == ""
    theirs, report_of = transformers.AutoModel.from_pretrained(tmp_path / "albert", output_loading_info=True)
    assert type(theirs).__name__ == "AlbertModel"
    assert not report_of["missing_keys"]
    assert not report_of["unexpected_keys"]
    loaded = read_model(tmp_path / "albert")
    assert loaded.fresh == ()
    batch = ids_of(source)
    with torch.no_grad():
        expected, found = theirs.eval()(**batch), AlbertModel.wrap(loaded.model.eval())(**batch)
    real = batch["attention_mask"].bool()
    assert_close(found.last_hidden_state[real], expected.last_hidden_state[real], atol=1e-5, rtol=0)
    assert_close(found.pooler_output, expected.pooler_output, atol=1e-5, rtol=0)
    ours, automatic = load_tokenizer(source), transformers.AutoTokenizer.from_pretrained(tmp_path / "albert")
    for line in ("The name of the file.", "Élève [x]"):
        assert ours.encode(line).ids == automatic(line)["input_ids"]
    assert (report.without_relative is not None) == (kind == "mpnet")
    if report.without_relative is not None:
        assert report.without_relative.cosine < 0.9999


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra-wide"])
def test_at_full_width_and_without_sharing_it_is_the_source(
    kind: str, sources: Callable[..., Path], text: list[Path], tmp_path: Path
) -> None:
    report = compress(sources(kind), tmp_path / "albert", embedding_size=WIDTH, sharing="none", texts=text)
    assert report.embedding_variance == pytest.approx(1, abs=1e-6)
    assert report.closeness.cosine == pytest.approx(1, abs=1e-5)
    assert report.closeness.nearest == 1
    assert report.start == "average"
    batch = ids_of(sources(kind))
    with torch.no_grad():
        one, other = (
            AlbertModel.wrap(load_model(folder).eval())(**batch).last_hidden_state
            for folder in (sources(kind), tmp_path / "albert")
        )
    assert_close(one, other, atol=2e-4, rtol=0)


def test_an_embedding_of_that_width_is_copied(sources: Callable[..., Path], text: list[Path], tmp_path: Path) -> None:
    source = sources("electra")  # 16 wide, with a projection
    report = compress(source, tmp_path / "albert", embedding_size=16, sharing="none", texts=text)
    assert report.embedding_variance == 1
    assert report.closeness.cosine == pytest.approx(1, abs=1e-6)


def test_wider_embeddings_keep_more(sources: Callable[..., Path], text: list[Path], tmp_path: Path) -> None:
    kept, close = [], []
    for width in (4, 12, 24):
        out = tmp_path / str(width)
        report = compress(sources("bert"), out, embedding_size=width, sharing="none", texts=text)
        kept.append(report.embedding_variance)
        close.append(report.closeness.cosine)
    assert kept == sorted(kept)
    assert close == sorted(close)
    assert close[0] < close[-1] < 1


def test_the_best_start_is_the_closest_of_those_tried(
    sources: Callable[..., Path], text: list[Path], tmp_path: Path
) -> None:
    report = compress(sources("bert"), tmp_path / "best", embedding_size=12, texts=text)
    assert set(report.tried) == {"average", "fit", "0", "1", "2", "3"}
    assert report.tried[report.start] == max(report.tried.values())
    again = compress(sources("bert"), tmp_path / "same", embedding_size=12, texts=text, start=report.start)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("best", "same")]
    assert weights[0] == weights[1], "the same start gives the same bytes"
    assert again.closeness == report.closeness
    one = compress(sources("bert"), tmp_path / "one", embedding_size=12, texts=text, start="2")
    assert (one.start, one.tried) == ("2", {})
    source, model = load_model(sources("bert")), load_model(tmp_path / "one")
    for part in ("attention", "ffn"):
        theirs = getattr(source.albert.encoder, part)[2].state_dict()
        ours = getattr(model.albert.encoder, part)[0].state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(("sharing", "layers"), [("all", 7), ("groups=2", 2), ("none", 2), ("attention", None),
                                                 ("ffn", 3), ("cycle=2", 5), ("deltas=3", None)])  # fmt: skip
def test_other_depths_and_plans(
    sharing: str, layers: int | None, sources: Callable[..., Path], text: list[Path], tmp_path: Path
) -> None:
    report = compress(
        sources("bert"), tmp_path / "albert", embedding_size=12, sharing=sharing, layers=layers, texts=text
    )
    model = load_model(tmp_path / "albert")
    assert model.config.num_hidden_layers == (layers or LAYERS)
    assert model.config.sharing == sharing or model.config.sharing in ("all", "none")
    assert -1 <= report.closeness.cosine <= 1
    assert ".partial" not in report.note
    assert bool(report.note) == (sharing in ("attention", "ffn", "cycle=2", "deltas=3"))


def test_deltas_of_full_rank_are_the_layers(sources: Callable[..., Path], text: list[Path], tmp_path: Path) -> None:
    sharing = f"deltas={WIDTH}"
    compress(sources("bert"), tmp_path / "albert", embedding_size=12, sharing=sharing, texts=text, start="average")
    ours, theirs = (load_model(folder).albert.encoder for folder in (tmp_path / "albert", sources("bert")))
    for layer, (attention, ffn) in enumerate(
        zip(aligned_attention(list(theirs.attention)), aligned_ffn(list(theirs.ffn)), strict=True)
    ):
        for block, aligned, names in ((ours.attention[0], attention, ("qkv", "dense")),
                                      (ours.ffn[0], ffn, ("inner", "output"))):  # fmt: skip
            for name in names:
                delta = ours.deltas[layer][name]
                whole = getattr(block, name).weight + delta.up.weight @ delta.down.weight
                assert_close(whole, aligned.state[f"{name}.weight"], atol=1e-4, rtol=0)


def test_which_layers_a_block_stands_for() -> None:
    def covers(sharing: str, layers: int) -> list[list[int]]:
        return covered_layers(config_of(sharing=sharing, num_hidden_layers=layers), 6)["ffn"]

    assert covers("all", 6) == [[0, 1, 2, 3, 4, 5]]
    assert covers("all", 3) == [[0, 1, 2, 3, 4, 5]]
    assert covers("groups=3", 6) == [[0, 1], [2, 3], [4, 5]]
    assert covers("none", 3) == [[0, 1], [2, 3], [4, 5]]
    assert covers("none", 4) == [[0], [1, 2], [3], [4, 5]]
    assert covers("none", 9) == [[0], [0], [1], [2], [2], [3], [4], [4], [5]]
    assert covers("cycle=2", 6) == [[0, 2, 4], [1, 3, 5]]


def test_units_in_another_order_compute_the_same() -> None:
    encoder = random_model(config_of(sharing="none")).albert.encoder
    batch = packed_batch()
    layout = packed_layout(batch.cu_seqlens, len(batch.input_ids), batch.max_length)
    hidden = torch.randn(len(batch.input_ids), 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for block, aligned in zip(encoder.attention, aligned_attention(list(encoder.attention)), strict=True):
            before = block(hidden, layout, None)
            block.load_state_dict(aligned.state)
            assert_close(block(hidden, layout, None), before, atol=1e-5, rtol=0)
        for block, aligned in zip(encoder.ffn, aligned_ffn(list(encoder.ffn)), strict=True):
            before = block(hidden)
            block.load_state_dict(aligned.state)
            assert_close(block(hidden), before, atol=1e-5, rtol=0)


def test_units_find_their_like() -> None:
    encoder = random_model(config_of(sharing="none")).albert.encoder
    one, other = encoder.ffn[0], encoder.ffn[1]
    order = torch.randperm(48, generator=torch.Generator().manual_seed(1))
    other.load_state_dict(one.state_dict() | {
        "inner.weight": one.inner.weight[order], "inner.bias": one.inner.bias[order],
        "output.weight": one.output.weight[:, order],
    })  # fmt: skip
    found = aligned_ffn([one, other])
    assert all(torch.equal(found[0].state[name], found[1].state[name]) for name in found[0].state)


@pytest.mark.parametrize("part", ["attention", "ffn"])
def test_a_fit_is_nearest_to_what_the_layers_make_of_their_own_inputs(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "OFF_DIAGONAL", 1.0)
    model = random_model(config_of(sharing="none"))
    encoder, batch, seen = model.albert.encoder, packed_batch(), []
    read = {"attention": ("qkv", "dense"), "ffn": ("inner", "output")}[part]
    blocks = list(getattr(encoder, part))
    hooks = [
        getattr(block, name).register_forward_hook(lambda _, inputs, out: seen.append((inputs[0], out)))
        for block in blocks
        for name in read
    ]
    with torch.no_grad(), watched(encoder) as grams:
        for _ in range(30):
            ids = torch.randint(5, 50, batch.input_ids.shape, generator=torch.Generator().manual_seed(len(seen)))
            model.albert(batch._replace(input_ids=ids))
    for hook in hooks:
        hook.remove()
    aligned = {"attention": aligned_attention, "ffn": aligned_ffn}[part](blocks)  # type: ignore[operator]
    fitted, averaged = fit(aligned, grams), mean(aligned)

    def error(state: dict[str, torch.Tensor]) -> list[float]:
        errors = []
        for number, name in enumerate(read):
            total = 0.0
            for layer, block in enumerate(aligned):
                inputs, outputs = map(torch.cat, zip(*seen[2 * layer + number :: 2 * len(blocks)], strict=True))
                if number:
                    inputs = inputs[:, block.inner]
                else:
                    rows = block.inner
                    parts = outputs.shape[1] // len(rows)
                    outputs = outputs[:, torch.cat([rows + third * len(rows) for third in range(parts)])]
                found = inputs @ state[f"{name}.weight"].T + state[f"{name}.bias"]
                total += float((found - outputs).square().sum())
            errors.append(total)
        return errors

    best = error(fitted)
    assert all(ours < theirs for ours, theirs in zip(best, error(averaged), strict=True))
    generator = torch.Generator().manual_seed(7)
    for _ in range(5):  # any step away is worse
        moved = {name: x + 1e-2 * torch.randn(x.shape, generator=generator) for name, x in fitted.items()}
        assert all(ours < theirs for ours, theirs in zip(best, error(moved), strict=True))


def test_a_fit_weighs_inputs_by_how_often_they_occur() -> None:
    """W (sum of G_l) = sum of W_l G_l, the entries beside the diagonals a tenth; an input that is never there is
    multiplied by the mean."""
    encoder = random_model(config_of(sharing="none")).albert.encoder
    aligned, generator = aligned_ffn(list(encoder.ffn)), torch.Generator().manual_seed(3)
    read = torch.randn(len(aligned), 200, encoder.ffn[0].inner.in_features + 1, generator=generator)
    read[..., -1], read[..., 5] = 1, 0
    grams = [{"inner": x.T @ x} for x in read]
    found = fit(aligned, grams)
    damped = [0.1 * gram["inner"] + 0.9 * gram["inner"].diag().diag() for gram in grams]
    weights = [torch.cat((one.state["inner.weight"], one.state["inner.bias"][:, None]), 1) for one in aligned]
    fitted = torch.cat((found["inner.weight"], found["inner.bias"][:, None]), 1)
    wanted = sum(weight @ gram for weight, gram in zip(weights, damped, strict=True))
    assert_close(fitted @ sum(damped), wanted, atol=1e-2, rtol=1e-4)
    assert_close(found["inner.weight"][:, 5], mean(aligned)["inner.weight"][:, 5], atol=1e-5, rtol=0)
    assert torch.equal(found["output.weight"], mean(aligned)["output.weight"])


def test_the_fit_of_one_layer_is_that_layer() -> None:
    model = random_model(config_of(sharing="none"))
    with torch.no_grad(), watched(model.albert.encoder) as grams:
        model.albert(packed_batch())
    (one,) = aligned_ffn([model.albert.encoder.ffn[1]])
    fitted = fit([one], [grams[1]])
    assert all(torch.allclose(fitted[name], one.state[name], atol=1e-5) for name in fitted)


def test_the_nearest_product_of_a_rank() -> None:
    matrix = torch.randn(9, 7, generator=torch.Generator().manual_seed(0))
    down, up = low_rank(matrix, 3)
    sizes = torch.linalg.svdvals(matrix)
    assert_close((matrix - up @ down).norm(), sizes[3:].norm())


def test_a_classifier_comes_along(sources: Callable[..., Path], text: list[Path], tmp_path: Path) -> None:
    for kind in ("bert", "roberta", "distilbert"):
        source, out = sources(kind, "ForSequenceClassification"), tmp_path / kind
        report = compress(source, out, embedding_size=WIDTH, sharing="none", texts=text)
        assert report.carried == ("pooler", "classify")
        batch = ids_of(source)
        with torch.no_grad():
            one, other = (
                AlbertForSequenceClassification.wrap(load_model(folder).eval())(**batch).logits
                for folder in (source, out)
            )
        assert_close(one, other, atol=2e-4, rtol=0)
        labels = litebert.load(out).predict(["the file"])[0].to_dict()["scores"]
        assert set(labels) == {"LABEL_0", "LABEL_1", "LABEL_2"}
    assert "pooler_activation" in report.note or "transformers cannot open" in report.note, "a pooler with relu"


@pytest.mark.parametrize(
    ("kind", "end", "head"),
    [("bert", "ForTokenClassification", "ner"), ("roberta", "ForTokenClassification", "ner"),
     ("mpnet", "ForQuestionAnswering", "qa"), ("electra", "ForQuestionAnswering", "qa"),
     ("distilbert", "ForMultipleChoice", "choice"), ("electra", "ForMaskedLM", "masked_lm")],
)  # fmt: skip
def test_heads_of_tokens_and_choices_come_along(
    kind: str, end: str, head: str, sources: Callable[..., Path], text: list[Path], tmp_path: Path
) -> None:
    """The tensors are the source's; ELECTRA's embedding is factorized, so its masked-token head has its matrix."""
    source = sources(kind, end)
    report = compress(source, tmp_path / "albert", embedding_size=16 if kind == "electra" else 12, texts=text)
    assert head in report.carried
    ours, theirs = (load_model(folder) for folder in (tmp_path / "albert", source))
    assert list(ours.heads) == [head]
    assert ("a pooler, which the source lacks" in report.summary()) == (theirs.albert.pooler is None)
    for name, tensor in theirs.heads[head].state_dict().items():
        assert torch.equal(ours.heads[head].state_dict()[name], tensor[: len(ours.heads[head].state_dict()[name])])
    if head in ("ner", "choice"):
        assert ours.config.labels == theirs.config.labels
    if head == "masked_lm":
        assert torch.equal(ours.albert.embedding.word.weight, theirs.albert.embedding.word.weight)
        assert len(litebert.load(tmp_path / "albert").predict("The [MASK].")[0].masks[0]) == 5
        wider = compress(source, tmp_path / "other", embedding_size=12, texts=text)
        assert head not in wider.carried, "another embedding is another matrix"


@pytest.mark.parametrize("place", ["1_Pooling", "pooling"])
def test_settings_of_sentence_transformers_come_along(
    sources: Callable[..., Path], text: list[Path], tmp_path: Path, place: str
) -> None:
    source = tmp_path / "source"
    shutil.copytree(sources("bert"), source)
    (source / place).mkdir()
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate((("", "Transformer"), (place, "Pooling")))
    ]
    names = (MODULES, f"{place}/config.json", LENGTHS, PROMPTS)
    for name, values in zip(
        names, (modules, {"pooling_mode_cls_token": True}, {"max_seq_length": 40}, {}), strict=True
    ):
        (source / name).write_text(json.dumps(values))
    report = compress(source, tmp_path / "albert", embedding_size=12, texts=text)
    assert report.carried == ("pooler", *(name for name in SENTENCE_FILES if name in names))
    for name in (LENGTHS, PROMPTS):
        assert (tmp_path / "albert" / name).read_bytes() == (source / name).read_bytes()
    loaded = read_model(tmp_path / "albert")
    assert list(loaded.model.heads) == ["embed"]
    assert (loaded.model.config.sentence_pooling, loaded.model.config.sentence_normalized) == ("first", False)
    assert loaded.extra["length"] == 40
    assert read_model(tmp_path / "albert").extra["compressed"]["start"] == report.start


def test_an_albert_can_be_made_smaller_still(sources: Callable[..., Path], text: list[Path], tmp_path: Path) -> None:
    compress(sources("bert"), tmp_path / "one", embedding_size=24, sharing="none", texts=text)
    report = compress(tmp_path / "one", tmp_path / "two", embedding_size=12, texts=text)
    assert report.to_dict()["parameters"] < report.to_dict()["source_parameters"]


def test_deltas_of_a_source_are_in_its_layers(sources: Callable[..., Path], text: list[Path], tmp_path: Path) -> None:
    whole = {"embedding_size": 12, "texts": text, "start": "average"}
    compress(sources("bert"), tmp_path / "one", sharing=f"deltas={WIDTH}", **whole)
    report = compress(tmp_path / "one", tmp_path / "two", sharing=f"deltas={WIDTH}", **whole)
    assert report.closeness.cosine == pytest.approx(1, abs=1e-4)
    without = compress(tmp_path / "one", tmp_path / "three", sharing="all", **whole)
    assert without.closeness.cosine < 0.999


def test_the_report_in_numbers_and_in_words(
    sources: Callable[..., Path], text: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--embedding-size", "12", "--text", str(text[0])]
    for name, more in (("a", ["--json"]), ("b", [])):
        with pytest.raises(SystemExit) as stop:
            main(["compress", str(sources("mpnet")), "--out", str(tmp_path / name), *flags, *more])
        assert not stop.value.code
        out = capsys.readouterr().out
        if more:
            values = json.loads(out)
            parameters = sum(p.numel() for p in load_model(tmp_path / name).parameters())
            assert values["parameters"] == parameters
            size = (tmp_path / name / "model.safetensors").stat().st_size
            assert values["megabytes"] == pytest.approx(size / 1e6, rel=0.15)
            assert values["closeness"]["sentences"] > 50
            assert values["source_flops"] > 0
            assert values["without_relative_positions"]["cosine"] < 1
        else:
            for word in (
                "parameters",
                "MB",
                "FLOPs",
                "variance kept",
                "start",
                "held-out",
                "unrelated",
                "nearest",
                "relative",
            ):
                assert word in out, word


def test_text_that_any_machine_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LITEBERT_DATA", raising=False)
    sample = sample_sentences(None, 500)
    assert len(set(sample.sentences)) == 500
    assert sample == sample_sentences(None, 500)
    assert all(20 <= len(sentence) <= 300 for sentence in sample.sentences)
    (tmp_path / "corpus").mkdir()
    monkeypatch.setenv("LITEBERT_DATA", str(tmp_path))
    for name in ("a", "b"):
        lines = [json.dumps({"text": f"Sentence number {i} of the file {name}."}) for i in range(30)]
        (tmp_path / "corpus" / f"{name}.jsonl").write_text("\n".join(lines))
    sample = sample_sentences(None, 10)
    assert [sentence[-2] for sentence in sample.sentences] == ["a", "b"] * 5, "files in turn"
    assert sample.origin == str(tmp_path / "corpus")


# --- what goes wrong -----------------------------------------------------------------------------------------------


def test_bad_input(
    sources: Callable[..., Path], text: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("LITEBERT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    other, pickled, bare, slow = (tmp_path / name for name in ("other", "pickled", "bare", "slow"))
    for folder in (other, pickled, bare, slow):
        shutil.copytree(sources("bert"), folder)
    values = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(values | {"model_type": "gpt2"}))
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    (bare / "tokenizer.json").unlink()
    (slow / "tokenizer.json").rename(slow / "vocab.txt")
    (tmp_path / "short.txt").write_text("One sentence of some length is not enough for it.")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("precious")
    good = [sources("bert"), "--text", text[0], "--embedding-size", "12"]
    cases: list[tuple[list[Any], list[str]]] = [
        ([other, "--text", text[0]], ["gpt2", "mpnet"]),
        ([pickled, "--text", text[0]], ["litebert convert"]),
        ([bare, "--text", text[0]], ["without a tokenizer"]),
        ([slow, "--text", text[0]], ["vocab.txt", "AutoTokenizer"]),
        (["all-MiniLM-L6-v2", "--text", text[0]], ["litebert data get all-MiniLM-L6-v2"]),
        ([tmp_path / "absent"], ["absent"]),
        ([*good, "--sharing", "groups=3"], ["groups=3", "4 layers"]),
        ([*good, "--layers", "0"], ["num_hidden_layers 0"]),
        ([sources("bert"), "--text", text[0], "--embedding-size", "33"], ["embedding_size 33", "32"]),
        ([*good, "--sharing", "some"], ["some"]),
        ([*good, "--start", "4"], ["start '4'", "0 to 3"]),
        ([*good, "--start", "worst"], ["worst", "average"]),
        ([*good[:1], *good[3:], "--text", tmp_path / "short.txt"], ["short.txt", "too few"]),
        ([*good[:1], *good[3:], "--text", tmp_path / "nowhere.txt"], ["nowhere.txt"]),
    ]
    for arguments, words in cases:
        with pytest.raises(SystemExit) as stop:
            main(["compress", *map(str, arguments), "--out", str(tmp_path / "out")])
        err = capsys.readouterr().err
        assert stop.value.code == 2, err
        complaint = err.strip().splitlines()[-1]
        for word in words:
            assert word in complaint, complaint
        assert not (tmp_path / "out").exists()
    with pytest.raises(OutputError, match="not empty"):
        compress(sources("bert"), tmp_path / "full", texts=text)
    tokenizer = load_tokenizer(sources("bert"))
    own = random_model(config_of(vocab_size=tokenizer.vocab_size, block="pre_norm"))
    save_model(own, tmp_path / "own", tokenizer)
    with pytest.raises(ConfigError, match="pre_norm"):
        compress(tmp_path / "own", tmp_path / "out", texts=text)
    with pytest.raises(InputError, match="too few"):
        compress(sources("bert"), tmp_path / "out", embedding_size=12, texts=[tmp_path / "short.txt"])


def test_a_full_disk(
    sources: Callable[..., Path], text: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="disk is full"):
            compress(sources("bert"), tmp_path / "place" / "out", embedding_size=12, texts=text)
    assert not (tmp_path / "place").exists()
