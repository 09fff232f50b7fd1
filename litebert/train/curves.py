"""Which curves a run has: those of its objective, then those of every run."""

from collections.abc import Iterable

from litebert.train.charts import Chart, Point, Series, short
from litebert.train.page import percent
from litebert.train.record import Line, RunRecord, but_the_first, is_number


def curves(record: RunRecord) -> list[Chart]:
    """Return the charts of a run; those of what was not measured have no points."""
    marks = [float(line["step"]) for line in record.incidents if is_number(line.get("step"))]
    own = _teaching(record, marks) if record.teacher is not None else _pretraining(record, marks)
    clip = record.settings.get("optimizer.clip")
    norm = Chart(
        title="Gradient norm",
        series=_one(record, "gradient_norm", "norm", smooth=True),
        format=short,
        levels=(("clipped at", float(clip)),) if is_number(clip) and clip else (),
        marks=marks,
        log=True,
    )
    rate = Chart(
        title="Learning rate",
        series=_one(record, "learning_rate", "rate", smooth=False),
        format=short,
        marks=marks,
    )
    speed = _points(but_the_first(record.train), "tokens_per_second")
    tokens = Chart(
        title="Tokens a second",
        series=[Series(name="tokens/s", style="train", points=speed, smooth=True)],
        format=short,
        marks=marks,
    )
    return [*own, norm, rate, tokens]


def _pretraining(record: RunRecord, marks: list[float]) -> list[Chart]:
    entropy = record.unigram_entropy
    return [
        Chart(
            title="Masked-token loss, nats",
            series=_both(record, "mlm_loss"),
            format=_loss,
            levels=(("unigram entropy", entropy),) if entropy else (),
            marks=marks,
            width=800.0,
        ),
        Chart(title="Masked-token accuracy", series=_both(record, "mlm_accuracy"), format=percent, marks=marks),
        Chart(
            title="Sentence-order accuracy",
            series=_both(record, "order_accuracy"),
            format=percent,
            levels=(("chance", 0.5),),
            marks=marks,
        ),
        Chart(title="Sentence-order loss, nats", series=_both(record, "order_loss"), format=_loss, marks=marks),
    ]


def _teaching(record: RunRecord, marks: list[float]) -> list[Chart]:
    titles = {
        "cosine": "Cosine to the teacher's sentence vectors",
        "similarity": "Similarities to other sentences, divergence in nats",
        "relations": "Relations of attention, divergence in nats",
        "masked_lm": "Masked-token loss, nats",
    }
    judged = {"sts_b": "STS-B dev, Spearman, without fine-tuning", "clinc150": "CLINC150, ten examples an intent, %"}
    return [
        Chart(
            title="Hidden states, squared distance relative to the teacher's",
            series=_both(record, "hidden"),
            format=_loss,
            marks=marks,
            width=800.0,
            log=True,
        ),
        *(Chart(title=title, series=_both(record, name), format=_loss, marks=marks) for name, title in titles.items()),
        *(
            Chart(
                title=title,
                series=[Series(name="student", style="held", points=_points(record.held_out, name))],
                format=_loss,
                marks=marks,
            )
            for name, title in judged.items()
        ),
    ]


def _both(record: RunRecord, name: str) -> list[Series]:
    """A figure of the steps, and of held-out text."""
    training = Series(name="training", style="train", points=_points(record.train, name), smooth=True)
    held_out = Series(name="held-out", style="held", points=_points(record.held_out, name))
    # Where several data folders hold some out, each has figures of its own: `mlm_loss/NAME`.
    parts = sorted({key for line in record.held_out for key in line if key.startswith(f"{name}/")})
    folders = [(key.partition("/")[2], _points(record.held_out, key)) for key in parts]
    return [training, held_out, *(Series(name=folder, style="part", points=found) for folder, found in folders)]


def _one(record: RunRecord, name: str, title: str, *, smooth: bool) -> list[Series]:
    return [Series(name=title, style="train", points=_points(record.train, name), smooth=smooth)]


def _points(lines: Iterable[Line], name: str) -> list[Point]:
    return [(float(line["step"]), float(line[name])) for line in lines if is_number(line.get(name))]


def _loss(value: float) -> str:
    return f"{value:.4g}"
