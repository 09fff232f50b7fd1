"""Questions on contexts: SQuAD's JSON, versions 1.1 and 2.0, as rows.

{"data": [{"paragraphs": [{"context": "...", "qas": [{"id": "...", "question": "...",
  "answers": [{"text": "...", "answer_start": 17}], "is_impossible": false}]}]}]}
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from litebert.data.packing import reading, split_name, unpacked
from litebert.data.rows import Row
from litebert.errors import InputError


def read_squad(source: str | Path) -> list[Row] | None:
    """Return the questions of a file, with `id`, `question`, `context` and, where it has them, `answers`.

    None: the file is JSON lines, not SQuAD's JSON. Raises InputError where it is damaged, not JSON, or lacks a field.
    """
    path = Path(source)
    packing = split_name(path.name)[2]
    with reading(path, (packing or ".json")[1:]), path.open("rb") as raw, unpacked(raw, packing) as file:
        content = file.read()
    try:
        value = json.loads(content)
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8; save it as UTF-8") from None
    except ValueError as error:
        if b"\n{" in content:
            return None
        raise InputError(f"{path} is not JSON ({error}); give SQuAD's JSON, or JSON lines named .jsonl") from None
    if not isinstance(value, dict) or "data" not in value:
        return None
    try:
        return list(_questions(value["data"]))
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not SQuAD's JSON ({error!r} is missing or of another kind); correct it") from None


def _questions(data: Any) -> Iterator[Row]:
    for article in data:
        for paragraph in article["paragraphs"]:
            context = paragraph["context"]
            for qa in paragraph["qas"]:
                row: Row = {"id": qa["id"], "question": qa["question"], "context": context}
                if "answers" in qa:
                    row["answers"] = [] if qa.get("is_impossible") else qa["answers"]
                yield row
