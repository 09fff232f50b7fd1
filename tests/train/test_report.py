"""The page of a run: complete, self-contained, escaped; of whole, unfinished and broken runs; and its charts."""

import json
import math
import re
import shutil
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litebert import config
from litebert.cli import main
from litebert.data.batches import DataSettings
from litebert.data.pairs import PairSettings
from litebert.train.charts import Chart, Series, figure, moving_mean, short, thin, ticks
from litebert.train.corpora import TextRunSettings
from litebert.train.distill import DistillSettings
from litebert.train.loop import LoopSettings
from litebert.train.optimizers import OptimizerSettings
from litebert.train.pretrain import PretrainSettings, pretrain
from litebert.train.record import read_run, throughput
from litebert.train.report import Report, write_report

VOID = {"meta", "br", "line", "circle", "polyline"}


class Page(HTMLParser):
    """Follows the tags of a page: each must be closed in its turn; collects text and what points elsewhere."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.links: list[str] = []
        self.charts: list[dict[str, Any]] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links += [str(values[name]) for name in ("src", "href", "srcset", "action") if name in values]
        if "data-chart" in values:
            self.charts.append(json.loads(str(values["data-chart"])))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def train_line(step: int, **changes: float) -> dict[str, Any]:
    values = {
        "mlm_loss": 4 + 3 / step, "mlm_accuracy": 0.3, "order_loss": 0.69, "order_accuracy": 0.5,
        "gradient_norm": 1.5, "learning_rate": 1e-3, "seconds": 0.5, "data_seconds": 0.1, "tokens_per_second": 2000.0,
    }  # fmt: skip
    return {"step": step, "tokens": 1000 * step, "time": 0.5 * step, "kind": "train"} | values | changes


def incident(step: int, what: str, detail: str) -> dict[str, Any]:
    return {"step": step, "kind": "incident", "what": what, "detail": detail}


def make_run(folder: Path, lines: list[dict[str, Any]] | None, settings: TextRunSettings | None = None) -> Path:
    folder.mkdir()
    (folder / "config.toml").write_text(config.dump(asdict(settings or PretrainSettings())))
    if lines is not None:
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def page_of(run: Path) -> tuple[Report, Page]:
    report = write_report(run)
    return report, Page(report.report.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def finished(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of three steps."""
    out = tmp_path_factory.mktemp("reported") / "three"
    loop = LoopSettings(steps=3, precision="fp32", compile=False, evaluate_every=2, held_out_tokens=500, log_every=1)
    data = DataSettings(batch_size=4, pairs=PairSettings(length=32))
    optimizer = OptimizerSettings(name="lamb")
    pretrain(
        PretrainSettings(folders={str(prepared): 1.0}, preset="tiny", data=data, optimizer=optimizer, loop=loop), out
    )
    return out


def test_a_finished_run_of_three_steps(finished: Path, prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["report", str(finished), "--json"])
    assert not stop.value.code
    answer = json.loads(capsys.readouterr().out)
    assert answer["report"] == str(finished / "report.html")
    assert (answer["finished"], answer["step"], answer["steps"], answer["incidents"]) == (True, 3, 3, {})
    index = json.loads((prepared / "index.json").read_text())
    assert answer["unigram_entropy"] == index["splits"]["train"]["unigram_entropy"]
    last = json.loads((finished / "metrics.jsonl").read_text().splitlines()[-1])
    assert answer["held_out"]["mlm_loss"] == last["mlm_loss"]
    page = Page((finished / "report.html").read_text())
    for words in ("finished", "preset tiny", "lamb default adamw", "unigram entropy", "vocabulary 2,000 pieces"):
        assert words in page.text
    assert index["tokenizer"]["fingerprint"][:16] in page.text
    assert len(page.charts) == 7
    weights = sum(p.numel() for p in load(finished).parameters())
    assert f"{weights / 1e6:.2f}M parameters" in page.text


def load(run: Path) -> Any:
    from litebert.interop.huggingface import load_model

    return load_model(run / "model")


def test_the_page_needs_nothing_but_itself(finished: Path) -> None:
    _, page = page_of(finished)
    html = (finished / "report.html").read_text()
    assert page.links == []
    assert not re.search(r"@import|url\(|fetch\(|XMLHttp|import\(", html)
    assert set(re.findall(r"https?://[^\"' )]+", html)) <= {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert "$" not in re.sub(r"<script>.*</script>", "", html, flags=re.DOTALL)


def test_a_run_whose_data_and_checkpoints_are_gone(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    shutil.rmtree(run / "checkpoints")
    shutil.rmtree(run / "model")
    changed = (run / "config.toml").read_text().replace("data", "absent")
    (run / "config.toml").write_text(changed.replace("[absent", "[data").replace("absent]", "data]"))
    report, page = page_of(run)
    assert (report.finished, report.unigram_entropy) == (False, None)
    for words in ("unfinished: step 3 of 3", "This folder is no longer there", "No checkpoint has been written"):
        assert words in page.text


def test_a_run_that_crashed_before_its_first_step(tmp_path: Path) -> None:
    for name, lines in (("none", None), ("empty", [])):
        report, page = page_of(make_run(tmp_path / name, lines))
        assert (report.step, report.tokens_per_second) == (0, None)
        assert "No metrics have been written yet" in page.text
        assert page.charts == []


def test_a_run_of_one_step(tmp_path: Path) -> None:
    report, page = page_of(make_run(tmp_path / "run", [train_line(1)]))
    assert report.tokens_per_second == 2000
    assert len(page.charts) == 7


def test_incidents_are_shown_and_counted(tmp_path: Path) -> None:
    lines = [train_line(1), train_line(50)]
    lines[1:1] = [incident(7, "resumed", "from step 5"), incident(9, "rolled_back", "loss 91.2 after 4.1")]
    lines += [incident(50, "resumed", "from step 48"), incident(50, "hiccup", "a word of tomorrow")]
    report, page = page_of(make_run(tmp_path / "run", lines))
    assert report.incidents == {"resumed": 2, "rolled_back": 1, "hiccup": 1}
    for words in ("7 resumed from step 5", "9 rolled_back loss 91.2 after 4.1", "50 hiccup a word", "resumed × 2"):
        assert words in page.text
    html = report.report.read_text()
    assert html.count('class="line mark"') == 4 * 7  # in every chart


def test_each_data_folder_has_its_own_held_out_line(tmp_path: Path) -> None:
    values = {"mlm_loss": 4.0, "mlm_loss/books": 3.5, "mlm_loss/news": 4.5}
    lines = [train_line(1), {"step": 1, "kind": "held_out"} | values]
    report, page = page_of(make_run(tmp_path / "run", lines))
    assert [line["name"] for line in page.charts[0]["series"]] == ["training", "held-out", "books", "news"]
    assert report.held_out == {"mlm_loss": 4.0}


def test_a_run_of_teaching_has_curves_of_its_own(tmp_path: Path) -> None:
    figures = {"hidden": 0.4, "cosine": 0.7, "similarity": 0.9}
    lines = [train_line(n) | figures for n in (1, 2)] + [
        {"step": 2, "kind": "held_out", "sts_b": 81.25, "clinc150": 84.0, "cosine/books": 0.6} | figures
    ]
    settings = DistillSettings(folders={"books": 1.0}, student="small", teacher="wise")
    report, page = page_of(make_run(tmp_path / "run", lines, settings))
    assert "small, taught by wise" in page.text
    assert "STS-B dev 81.2 Spearman" in page.text
    assert report.held_out == figures | {"sts_b": 81.25, "clinc150": 84.0}
    assert [chart["series"][0]["name"] for chart in page.charts] == [
        "training", "training", "training", "student", "student", "norm", "rate", "tokens/s",
    ]  # fmt: skip
    assert [line["name"] for line in page.charts[1]["series"]] == ["training", "held-out", "books"]


def test_everything_is_escaped(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script>&\'$name'
    settings = PretrainSettings(folders={evil: 1.0}, init=evil, preset=evil, model={"position": evil})
    lines = [train_line(1), incident(1, evil, evil), {"step": evil, "kind": "train"}, train_line(2)]
    run = make_run(tmp_path / "<b>run&$title", lines, settings)
    manifest = run / "checkpoints" / "step-1" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"environment": {evil: evil}}))
    report, page = page_of(run)
    html = report.report.read_text()
    assert html.count("<script>") == 1
    assert "alert(&quot;1&quot;)" in html
    assert 'alert("1")' not in html
    assert page.text.count(evil) >= 6
    assert "<b>run" not in html


def test_values_that_are_not_finite_and_lines_that_are_cut_off(tmp_path: Path) -> None:
    lines = [train_line(step) for step in range(1, 30)]
    lines[10] |= {"mlm_loss": math.nan, "gradient_norm": math.inf}
    run = make_run(tmp_path / "run", lines)
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 30, "tok\xff')
    report, page = page_of(run)
    assert report.step == 29
    assert "2 values of the metrics are not finite" in page.text
    assert "1 lines of metrics.jsonl cannot be read" in page.text
    assert all(len(chart["series"][0]["points"]) >= 27 for chart in page.charts)


def test_a_hundred_thousand_lines_make_a_small_page(tmp_path: Path) -> None:
    lines = [train_line(step) for step in range(1, 100_001)]
    lines[70_000]["mlm_loss"] = 9.75  # a spike of one step
    run = make_run(tmp_path / "run", lines)
    report, _ = page_of(run)
    assert report.step == 100_000
    assert report.report.stat().st_size < 500_000


def test_the_share_of_waiting_and_the_speed() -> None:
    lines = [train_line(1, seconds=60.0, data_seconds=30.0), *(train_line(step) for step in range(2, 22))]
    speed = throughput(lines)
    assert speed is not None
    assert speed.data_share == pytest.approx(0.2)  # the step that compiles is left out
    assert (speed.seconds, speed.slow, speed.tokens_per_second) == (0.5, 0.5, 2000)
    assert throughput([]) is None


def test_the_environment_is_that_of_the_newest_manifest_that_can_be_read(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [train_line(1)])
    for step, text in ((9, '{"environment": {"torch": "old"}}'), (10, '{"environment": {"torch": "new"}}'), (11, "{")):
        (run / "checkpoints" / f"step-{step}").mkdir(parents=True)
        (run / "checkpoints" / f"step-{step}" / "manifest.json").write_text(text)
    assert read_run(run).environment == {"torch": "new"}


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    make_run(tmp_path / "run", [])
    broken = make_run(tmp_path / "broken", [])
    (broken / "config.toml").write_text("[loop\n")
    for arguments, word in (
        ([tmp_path / "absent"], "absent is no run folder"),
        ([tmp_path / "file"], "file is no run folder"),
        ([tmp_path], "config.toml"),
        ([broken], "not valid TOML"),
        ([tmp_path / "run", "--out", tmp_path], "is a folder; name a file"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["report", *map(str, arguments)])
        assert stop.value.code == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert word in lines[0]
    assert not list(tmp_path.rglob("*.html"))


# --- charts ------------------------------------------------------------------------------------------------------


def chart(points: list[tuple[float, float]], **fields: Any) -> str:
    series = [Series(name="one", style="train", points=points, smooth=True)]
    return figure(Chart(title="title", series=series, format=short, **fields))


def places(svg: str) -> list[tuple[float, float]]:
    lines = re.findall(r'points="([^"]*)"', svg)
    return [(float(x), float(y)) for line in lines for x, y in (pair.split(",") for pair in line.split())]


values = st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0])


@given(st.lists(values, max_size=60), st.booleans())
def test_every_line_stays_in_its_picture(numbers: list[float], log: bool) -> None:
    points = [(float(step), value) for step, value in enumerate(numbers, 1)]
    html = chart(points, log=log)
    usable = [value for value in numbers if math.isfinite(value) and (value > 0 or not log)]
    assert bool(html) == bool(usable)
    if html:
        Page(html)
        assert "nan" not in html
        assert all(0 <= x <= 480 and 0 <= y <= 260 for x, y in places(html))


def test_a_higher_value_lies_higher_and_a_later_step_further_right() -> None:
    drawn = places(
        figure(Chart(title="t", series=[Series(name="s", style="held", points=[(1, 5.0), (9, 7.0)])], format=short))
    )
    assert drawn[0][0] < drawn[1][0]
    assert drawn[0][1] > drawn[1][1]


def test_one_wild_value_does_not_press_the_others_flat() -> None:
    points = [(float(step), 5 - step / 300) for step in range(1, 301)]
    points[150] = (151.0, 1e9)
    heights = [y for _, y in places(chart(points))[: len(thin(points))]]
    assert max(heights) - sorted(heights)[1] > 40


def test_thinning_keeps_the_spikes_and_the_order() -> None:
    points = [(float(step), math.sin(step)) for step in range(10_000)]
    points[7777] = (7777.0, 42.0)
    kept = thin(points, 400)
    assert len(kept) <= 400
    assert (7777.0, 42.0) in kept
    assert kept == sorted(kept)
    assert thin(points[:400], 400) == points[:400]


def test_a_moving_mean_keeps_steps_and_lies_among_the_values() -> None:
    points = [(float(step), float(step % 2)) for step in range(800)]
    means = moving_mean(points)
    assert [step for step, _ in means] == [step for step, _ in points]
    assert all(0.4 < value < 0.6 for _, value in means)
    assert moving_mean(points[:10]) == points[:10]


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_are_few_round_and_within(low: float, span: float) -> None:
    high = low + span
    if high > low and span > abs(low) * 1e-9:
        found = ticks(low, high)
        assert 2 <= len(found) <= 8
        assert all(low - span * 1e-6 <= value <= high + span * 1e-6 for value in found)


def test_numbers_are_written_short() -> None:
    numbers: list[float] = [0, 0.002, 1.5, 999, 9724, 36_587_832, 2.5e9, -1200]
    assert [short(value) for value in numbers] == ["0", "0.002", "1.5", "999", "9.72k", "36.6M", "2.5G", "-1.2k"]
