"""The model that ships: everyone's tools open it and agree, and it is as good as its card says."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import litebert
from litebert import config
from litebert.data.catalog import MODELS
from litebert.errors import ConfigError
from litebert.evaluate.embeddings import STS_B, sts_spearman
from litebert.interop.huggingface import load_model
from litebert.text.tokenizer import load_tokenizer
from litebert.train.pretrain import PretrainSettings, make_model

RECIPES = Path(litebert.__file__).parents[1] / "recipes"
FOLDER = MODELS / "litebert-small"
TEXTS = ["A man plays the guitar.", "Someone is making music, they say!", "", "Numbers such as 3.14; and café."]


def test_transformers_has_equal_hidden_states() -> None:
    transformers = pytest.importorskip("transformers")
    predictor = litebert.load("litebert-small")
    theirs = transformers.AutoModel.from_pretrained(FOLDER).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)
    ours = litebert.AlbertModel.from_pretrained("litebert-small")
    for text in TEXTS:
        given = tokenizer(text, return_tensors="pt")
        assert given["input_ids"][0].tolist() == predictor.tokenizer.encode(text).ids
        with torch.inference_mode():
            expected = theirs(**given).last_hidden_state
            found = ours(**given).last_hidden_state
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_sentence_transformers_has_equal_vectors() -> None:
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(FOLDER), device="cpu").encode(TEXTS)
    ours = np.stack([answer.embedding for answer in litebert.load("litebert-small").predict(TEXTS)])
    assert np.abs(ours - theirs).max() < 1e-5


def test_the_one_from_scratch_fills_masks() -> None:
    texts = ["the united [MASK] of america.", "She opened the [MASK] and looked out of the window."]
    first, second = litebert.load("litebert-mini-scratch").predict(texts)
    assert first.masks[0][0].piece == "▁states"
    assert {"▁door", "▁curtain", "▁window", "▁curtains", "▁blinds"} & {one.piece for one in second.masks[0]}


def test_the_trunk_of_the_one_from_scratch_can_be_gone_on_from() -> None:
    folder = MODELS / "litebert-mini-scratch" / "trunk"
    tree = config.merge(config.read_toml(RECIPES / "scratch" / "mini.toml"), {"init": str(folder)})
    settings = config.build(PretrainSettings, tree)
    trunk = make_model(settings, load_tokenizer(folder))
    assert trunk.config == load_model(MODELS / "litebert-mini-scratch").config
    torch.testing.assert_close(trunk.state_dict(), load_model(folder, ("masked_lm", "sentence_order")).state_dict())
    wider = replace(settings, model={"hidden_size": 512})
    with pytest.raises(ConfigError, match=r"model.hidden_size = 512, and .* has 384: leave it out"):
        make_model(wider, load_tokenizer(folder))


def test_it_is_as_good_as_its_card_says(litebert_data: Path) -> None:
    predictor = litebert.load("litebert-small")
    found = sts_spearman(predictor.model.albert, predictor.tokenizer, litebert_data / STS_B)
    (said,) = re.findall(r"STS-B dev, Spearman, no fine-tuning \| ([0-9.]+)", (FOLDER / "README.md").read_text("utf-8"))
    assert found == pytest.approx(float(said), abs=0.06)
    assert found >= 84.5
