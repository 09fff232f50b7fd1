"""Models as they lie in folders: `plan`, `compress`, `convert`."""

from pathlib import Path
from typing import Annotated

from litebert.commands.flags import Answer, Many, MaybeWhole, Switch, Whole
from litebert.errors import ConfigError


def plan(
    *,
    preset: str | None = None,
    model: str | None = None,
    length: Whole = 128,
    batch_size: Whole = 16,
    micro_batches: Whole = 1,
    activation_checkpointing: Switch = False,
    precision: str = "bf16",
    optimizer: str = "adamw",
    compile: bool = True,
) -> Answer:
    """Say what a model costs: parameters beside the paper's, FLOPs a token, peak memory to train on a CPU.

    Parameters
    ----------
    preset
        tiny, mini, small, base, large, xlarge or xxlarge; base where neither this nor a model is named.
    model
        Folder or name of a model to say it of: an ALBERT or any encoder of BERT's family.
    length
        Tokens a sequence.
    batch_size
        Sequences a step.
    micro_batches
        Parts in which a step is computed.
    activation_checkpointing
        Recompute activations in the backward pass instead of keeping them.
    precision
        bf16 or fp32.
    optimizer
        adamw, lamb or muon.
    compile
        Whether the model is compiled, as `pretrain` does unless told otherwise.
    """
    from litebert.data.catalog import find_model
    from litebert.interop.huggingface import read_config
    from litebert.model.config import preset as make
    from litebert.model.plan import plan as run

    if preset is not None and model is not None:
        raise ConfigError("--preset and --model contradict each other; --model brings its own shape")
    result = run(
        make(preset or "base") if model is None else read_config(find_model(model)),
        length=length,
        batch_size=batch_size,
        micro_batches=micro_batches,
        activation_checkpointing=activation_checkpointing,
        precision=precision,
        optimizer=optimizer,
        compiled=compile,
    )
    name = {"preset": preset or "base"} if model is None else {"model": model}
    return Answer(data=name | result.to_dict(), text=result.summary(*name.values()))


def compress(
    source: str,
    /,
    *,
    out: Path,
    embedding_size: Whole = 128,
    sharing: str = "all",
    layers: MaybeWhole = None,
    start: str = "best",
    text: Annotated[list[Path] | None, Many] = None,
) -> Answer:
    """Make an ALBERT of any encoder of BERT's family: embedding factorized, layers shared; nothing is trained.

    Parameters
    ----------
    source
        Folder or name of the model: an ALBERT, BERT, DistilBERT, ELECTRA, RoBERTa, XLM-RoBERTa or MPNet.
    out
        Folder of the ALBERT.
    embedding_size
        Width of the factorized embedding.
    sharing
        all, attention, ffn, none, groups=K, cycle=K or deltas=R.
    layers
        Layers of the result; those of the source where not given.
    start
        What a shared block starts from: average (of the source's layers), fit (to them on real text), one of them by
        its number, or best: of all these, on real text.
    text
        Files or folders of prose to solve and compare on; $LITEBERT_DATA/corpus, else the documentation of Python's
        library, where not given.
    """
    from litebert.data.catalog import find_model
    from litebert.interop.compress import compress as run

    folder = find_model(source)
    report = run(folder, out, embedding_size=embedding_size, sharing=sharing, layers=layers, start=start, texts=text)
    return Answer(data=report.to_dict(), text=report.summary())


def convert(source: Path, out: Path, /, *, precision: str = "fp32") -> Answer:
    """Turn another program's ALBERT into a litebert folder.

    Parameters
    ----------
    source
        Hugging Face folder, TensorFlow folder, or prefix of a TensorFlow checkpoint.
    out
        Folder of the model.
    precision
        Of the stored weights: fp32, or bf16, which halves the file.
    """
    from litebert.interop.convert import convert as run

    saved = run(source, out, precision=precision)
    text = "\n".join([*([saved.note] if saved.note else []), f"model: {saved.folder}"])
    return Answer(data={"model": str(saved.folder)}, text=text)
