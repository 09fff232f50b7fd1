"""The files that sentence-transformers keeps beside a model: what they say, and those of a model of ours.

modules.json                        Transformer, then Pooling, then perhaps Normalize
1_Pooling/config.json               what stands for a text
sentence_bert_config.json           tokens of the longest text
tokenizer_config.json               the same, where later versions write it
config_sentence_transformers.json   versions and prompts
"""

from pathlib import Path
from typing import Any, NamedTuple

from litebert.errors import ModelFolderError
from litebert.interop.configs import parse_json, read_json, write_json
from litebert.model.config import AlbertConfig

MODULES, POOLING = "modules.json", "1_Pooling"
LENGTHS, PROMPTS = "sentence_bert_config.json", "config_sentence_transformers.json"
TOKENIZER = "tokenizer_config.json"
SENTENCE_FILES = (MODULES, f"{POOLING}/config.json", LENGTHS, PROMPTS)

_POOLINGS = {"mean": "mean", "cls": "first", "max": "max"}
"""Their words for what we can pool, and ours."""
_FLAGS = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}
"""The older way to write it, which every version reads: `pooling_mode_` and one of these, true or false."""
_TYPES = ("Transformer", "Pooling", "Normalize")


class SentenceSettings(NamedTuple):
    """How a model makes one vector of a text."""

    pooling: str = "mean"
    """`mean`, `first` or `max`."""
    normalized: bool = True
    """Vectors have length 1."""
    length: int | None = None
    """Most tokens of a text; None: what the model can read."""

    def config(self) -> dict[str, Any]:
        """The fields of AlbertConfig that say the same."""
        return {"sentence_pooling": self.pooling, "sentence_normalized": self.normalized}


def has_sentences(folder: Path) -> bool:
    """Whether a model folder says that it is for vectors of texts: its modules.json has a pooling in it."""
    return (folder / MODULES).is_file() and "Pooling" in [kind for kind, _ in _modules(folder)]


def read_sentences(folder: Path) -> SentenceSettings:
    """Read the settings of such a folder, the usual ones where a file is missing.

    Raises ModelFolderError for what litebert does not compute: other modules, poolings, a prompt before each text.
    """
    if not has_sentences(folder):
        return SentenceSettings()
    modules = _modules(folder)
    kinds = [kind for kind, _ in modules]
    if kinds not in (list(_TYPES), list(_TYPES[:2])):
        raise ModelFolderError(
            f"{folder / MODULES}: the modules {', '.join(kinds)} are not among what litebert computes: it is "
            f"{', '.join(_TYPES[:2])} and perhaps {_TYPES[2]}"
        )
    prompts = _values(folder / PROMPTS)
    prompt = (prompts.get("prompts") or {}).get(prompts.get("default_prompt_name"))
    if prompt:
        raise ModelFolderError(
            f"{folder / PROMPTS}: the prompt {prompt!r} before every text is nothing that litebert writes: put it into "
            "your texts and set default_prompt_name to null"
        )
    texts, tokenizer = _values(folder / LENGTHS), _values(folder / TOKENIZER)
    if texts.get("do_lower_case") and not tokenizer.get("do_lower_case"):
        raise ModelFolderError(
            f"{folder / LENGTHS}: do_lower_case is true, but the tokenizer keeps capitals: give texts in lower case "
            "and set it to false"
        )
    length = texts.get("max_seq_length", tokenizer.get("model_max_length"))
    return SentenceSettings(
        _pooling(folder / dict(modules)["Pooling"] / "config.json"),
        "Normalize" in kinds,
        length if isinstance(length, int) and length > 0 else None,
    )


def write_sentences(folder: Path, config: AlbertConfig, length: int) -> None:
    """Write the files with which sentence-transformers opens a model folder; length: tokens of the longest text."""
    paths = ("", POOLING, "2_Normalize")[: 3 if config.sentence_normalized else 2]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(zip(paths, _TYPES, strict=False))
    ]
    write_json(folder / MODULES, modules)
    flags = {f"pooling_mode_{flag}": _POOLINGS.get(name) == config.sentence_pooling for name, flag in _FLAGS.items()}
    (folder / POOLING).mkdir()
    write_json(folder / POOLING / "config.json", {"word_embedding_dimension": config.hidden_size} | flags)
    write_json(folder / LENGTHS, {"max_seq_length": length, "do_lower_case": False})
    write_json(folder / PROMPTS, {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"})


def _values(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _modules(folder: Path) -> list[tuple[str, str]]:
    """Kind and folder of each module."""
    path = folder / MODULES
    values = parse_json(path)
    if not isinstance(values, list) or not all(isinstance(v, dict) and {"type", "path"} <= v.keys() for v in values):
        raise ModelFolderError(f"{path} holds no list of modules: get the model again")
    return [(str(value["type"]).rpartition(".")[2], str(value["path"])) for value in values]


def _pooling(path: Path) -> str:
    values = read_json(path)
    modes = values.get("pooling_mode")
    if modes is None:
        names = [name for name in values if name.startswith("pooling_mode_") and values[name]]
        known = {f"pooling_mode_{flag}": name for name, flag in _FLAGS.items()}
        modes = [known.get(name, name.removeprefix("pooling_mode_")) for name in names] or ["mean"]
    modes = [modes] if isinstance(modes, str) else list(modes)
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise ModelFolderError(
            f"{path}: the pooling {' with '.join(map(str, modes))} is not among what litebert computes: use one of "
            f"{', '.join(_POOLINGS)}"
        )
    return _POOLINGS[modes[0]]
