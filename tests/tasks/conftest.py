"""Small models for every task: one that transformers can open, and a way to fine-tune it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from litebert.data.labelled import Columns
from litebert.text.tokenizer import Tokenizer
from litebert.train.finetune import finetune
from litebert.train.job import FinetuneSettings
from litebert.train.results import FinetuneReport
from tests.labelled import small_model

Tune = Callable[..., FinetuneReport]


@pytest.fixture(scope="session")
def start(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder of ALBERT's own form, so that transformers opens what is made of it."""
    folder = tmp_path_factory.mktemp("start") / "model"
    return small_model(folder, tokenizer, block="post_norm", position="absolute", pooling="first")


@pytest.fixture(scope="session")
def tune(start: Path) -> Tune:
    """Fine-tune on rows that are the dev rows too: what can be learnt by heart."""

    def run(task: str, data: Path, out: Path, dev: Path | None = None, **changes: Any) -> FinetuneReport:
        columns = changes.pop("columns", Columns())
        settings: dict[str, Any] = {"epochs": 20.0, "batch_size": 8, "learning_rate": 4e-3, "precision": "fp32"}
        return finetune(
            task,
            model=changes.pop("model", start),
            train=data,
            dev=dev or data,
            out=out,
            columns=columns,
            settings=FinetuneSettings(**settings | changes),
        )

    return run
