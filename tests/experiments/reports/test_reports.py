"""Pages of runs, sweeps and studies: what is on them, and that they load nothing."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genlab.experiments.arms.results import Results
from genlab.experiments.comparison import Run
from genlab.experiments.reports import (
    charts,
    document,
    images,
    question_page,
    run_page,
    sweep_page,
    thinning,
)
from genlab.experiments.reports.blocks import Report, Section, Text
from tests.conftest import Here
from tests.experiments.arms import made as studies
from tests.experiments.reports import made

MOST_BYTES, MOST_SCRIPT = 3_000_000, 1_200_000


class Page(HTMLParser):
    """Texts, tags and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.tags, self.addresses = "", list[str](), list[str]()
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.inside = tag
        self.addresses += [value for name, value in attrs if name in ("src", "href") and value]

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        self.text += data if self.inside not in ("script", "style") else ""


def specs(text: str) -> list[dict[str, Any]]:
    """What the charts of a page are drawn from."""
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', text, re.S)
    assert found is not None
    drawn: list[dict[str, Any]] = json.loads(found[1])
    return drawn


def test_a_thinned_curve_keeps_its_extremes_and_its_ends() -> None:
    generator = np.random.default_rng(0)
    x, y = np.arange(100_000), generator.standard_normal(100_000)
    y[[31_000, 77_777]] = 50, -50
    order = thinning.kept(x, y, 500)
    steps, values = x[order].tolist(), y[order].tolist()
    assert len(steps) <= 1002
    assert steps == sorted(steps)
    assert (steps[0], steps[-1], max(values), min(values)) == (0, 99_999, 50, -50)
    for first in range(0, 100_000, 200):  # each column of pixels
        inside = [v for s, v in zip(steps, values, strict=True) if first <= s < first + 200]
        assert min(inside) == y[first : first + 200].min()
        assert max(inside) == y[first : first + 200].max()
    assert thinning.kept(x[:900], y[:900], 500) == [*range(900)]


def test_a_gap_of_a_thinned_curve_stays() -> None:
    y = np.ones(10_000)
    y[5_000] = np.nan
    assert np.isnan(y[thinning.kept(np.arange(10_000), y, 100)]).sum() == 1
    assert charts.numbers([float("nan"), float("inf"), 1.23456789]) == [None, None, 1.23457]


def test_bands_are_thinned_and_stay_on_a_logarithmic_axis() -> None:
    steps, values = np.arange(50_000.0), np.geomspace(100, 0.1, 50_000)
    values[777] = 300.0
    line = charts.Line("one", steps.tolist(), values.tolist(), [1.0] * 50_000)
    drawn = charts.curves([line], "loss", pixels=200)
    (one,) = drawn["series"]
    assert drawn["log"]
    assert len(one["x"]) == len(one["y"]) == len(one["low"]) == len(one["high"]) <= 402
    assert max(one["y"]) == 300
    assert max(one["high"]) == 301
    assert min(one["low"]) == 0.1


@pytest.mark.parametrize(("lines", "numbers"), [(1, 2), (40, 2), (48, 4)])
def test_all_curves_of_a_page_keep_to_their_room(lines: int, numbers: int) -> None:
    pixels = thinning.resolution(lines, numbers)
    assert 60 <= pixels <= thinning.PIXELS
    steps, values = np.arange(100_000), np.random.default_rng(0).normal(size=100_000)
    spread = np.abs(values).tolist() if numbers == 4 else None
    one = charts.curves(
        [charts.Line("a", steps.tolist(), values.tolist(), spread)], "loss", pixels=pixels
    )
    size = lines * len(json.dumps(one, separators=(",", ":")))
    assert size < 1.4 * thinning.ROOM  # names and braces, and numbers of nine characters


def test_the_page_of_a_run(tmp_path: Path) -> None:
    run = Run(made.run(tmp_path / "runs/vae/digits/one"))
    text = document.html(run_page.page(run), "genlab report one")
    page = Page(text)
    assert len(text.encode()) < MOST_BYTES
    assert page.tags.count("img") == 5  # three samples, a confusion matrix, a film
    assert all(one.startswith(("data:image/webp;base64,", "#")) for one in page.addresses)
    assert "default-src 'none'" in text
    for said in (
        "vae/digits",
        "done",
        "step 30",
        "1 h 02 min",
        "trainer.max_epochs: 3 → 5",
        "genlab fit vae/digits model.latent_dim=8",
        "Samples from the same noise",
    ):
        assert said in page.text, said
    loss, speed = specs(text)
    assert [one["name"] for one in loss["series"]] == ["train/loss", "val/loss"]
    assert len(loss["series"][1]["x"]) == 3
    assert loss["y"] == "loss"
    assert speed["y"] == "images_per_second"


def test_settings_that_are_not_defaults_come_first(tmp_path: Path) -> None:
    run = Run(made.run(tmp_path / "runs/vae/digits/one", activation="gelu", kl_weight=1.0))
    (section,) = (one for one in run_page.page(run).sections if one.title == "Settings")
    own, rest = section.blocks[0], section.blocks[1]
    assert ("model.latent_dim", "8") in own.pairs
    assert ("model", "VAE") in own.pairs
    assert ("model.kl_weight", "1") in rest.blocks[0].pairs


def test_damaged_files_are_named(here: Here) -> None:
    run = made.run(here.folder / "runs/vae/digits/one")
    (run / "run.json").write_text('{"recipe": "vae')
    _, err = here("report", "vae/digits")
    assert err == "damaged: run.json in runs/vae/digits/one\n"
    assert "Damaged, and left out here: run.json." in (run / "report.html").read_text()
    (run / "metrics.csv").write_bytes(b"step,train/loss\n\xff,3\n")
    _, err = here("report", "vae/digits", code=2)
    assert "metrics.csv" in err
    assert "studies" not in err


def test_names_from_files_stay_text(tmp_path: Path) -> None:
    """A name that ends a script or opens a tag is shown and does nothing."""
    bad = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    run = Run(made.run(tmp_path / "runs/vae/digits/one", recipe=bad, decoder=bad, pictures=False))
    csv = run.path / "metrics.csv"
    csv.write_text(csv.read_text().replace("train/loss", f'"train/{bad}"'))
    plain = Run(made.run(tmp_path / "runs/vae/digits/two", pictures=False))
    text, usual = (document.html(run_page.page(one)) for one in (run, plain))
    page, other = Page(text), Page(usual)
    assert page.tags.count("script") == other.tags.count("script") == 3
    assert page.tags.count("img") == 0
    assert bad in page.text
    assert any(one["y"] == bad for one in specs(text))


def test_texts_are_escaped_and_empty_parts_left_out() -> None:
    report = Report("a < b", "<i>", [Section("empty", []), Section("one", [Text("<b>&")])])
    text = document.html(report)
    assert "<title>a &lt; b</title>" in text
    assert "&lt;b&gt;&amp;" in text
    assert "empty" not in Page(text).text
    assert "Apache ECharts" not in text  # a page without charts has no library
    assert len(text) < 40_000


def test_the_script_is_small_and_has_its_licence() -> None:
    library = (document.ASSETS / "echarts.min.js").read_text()
    own = (document.ASSETS / "report.js").read_text()
    assert len((library + own).encode()) <= MOST_SCRIPT
    assert "Licensed to the Apache Software Foundation" in library[:200]
    assert "</script" not in library + own
    assert "Apache License" in (document.ASSETS / "echarts.LICENSE").read_text()
    assert "Apache ECharts" in (document.ASSETS / "echarts.NOTICE").read_text()


def test_images_keep_within_their_budget(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for step in range(40):
        pixels = generator.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"pictures/samples-{step:08d}.png")
    (tmp_path / "pictures/broken.png").write_bytes(b"no image")
    (many,) = images.of_run(tmp_path, 10_000_000)
    assert len(many.frames) == images.MOST
    assert [many.frames[0].label, many.frames[-1].label] == ["step 0", "step 39"]
    budget = 3 * len(many.frames[0].source)
    (few,) = images.of_run(tmp_path, budget)
    assert sum(len(one.source) for one in few.frames) <= budget
    assert few.frames[-1].label == "step 39"


def test_a_film_stays_a_film(tmp_path: Path) -> None:
    run = made.run(tmp_path / "one")
    frame = images.frame(run / "pictures/film.gif")
    assert frame is not None
    content = base64.b64decode(frame.source.partition(",")[2])
    film = Image.open(io.BytesIO(content))
    assert film.format == "WEBP"
    assert getattr(film, "n_frames", 1) == 4
    wide = tmp_path / "wide.png"
    made.picture(wide, 9, (4000, 40))
    small = images.frame(wide)
    assert small is not None
    assert (small.width, small.height) == (images.WIDEST, 16)


def sweep(place: Path) -> list[Run]:
    return [
        Run(made.run(place / f"runs/vae/digits/{dim}-{seed}", seed, latent_dim=dim))
        for dim in (2, 8, 32) for seed in (0, 1)
    ]  # fmt: skip


def test_the_page_of_a_sweep(tmp_path: Path) -> None:
    found = sweep(tmp_path)
    report = sweep_page.page("widths", found)
    text = document.html(report)
    page = Page(text)
    assert "6 runs of vae/digits, 3 settings" in page.text
    assert page.tags.count("button") > 4  # a heading each
    parallel, *curves = specs(text)
    assert [one["name"] for one in parallel["axes"]] == ["model.latent_dim", "val/loss"]
    assert sorted(parallel["axes"][0]["values"]) == [2, 8, 32]
    assert parallel["colour"] == 1
    assert [one["y"] for one in curves] == ["train/loss", "val/loss"]
    for line in curves[0]["series"]:
        assert len(line["low"]) == len(line["high"]) == len(line["x"])
        assert all(
            a <= m <= b for a, m, b in zip(line["low"], line["y"], line["high"], strict=True)
        )
    assert page.tags.count("img") == 9  # a kind's last image of each setting


def study_of(place: Path, gap: float, **changed: Any) -> Results:
    question = studies.study(place, **changed)
    results = Results(question, place / "runs")
    results.folder.mkdir(parents=True)
    for cell in results.cells:
        higher = gap * (cell.arm == question.arms[0].name) + 0.001 * cell.seed
        metrics = dict.fromkeys(question.reads, 0.5 + higher)
        results.keep(cell, metrics | {"diverged": 0.0})
    return results


def test_the_page_of_a_question(tmp_path: Path) -> None:
    report = question_page.page(study_of(tmp_path, 0.3))
    assert report.mark == "yes"
    text = document.html(report)
    assert "Does a rate of 0.01 learn more than 0.001?" in Page(text).text
    deciding, *arms = specs(text)
    (row,) = deciding["rows"]
    assert row["middle"] == pytest.approx(0.3)
    assert len(row["values"]) == 5
    assert deciding["margin"] == 0.02
    assert [one["name"] for one in arms[0]["rows"]] == ["fast", "slow"]
    assert arms[0]["margin"] is None


def test_a_question_that_nobody_has_asked_yet(tmp_path: Path) -> None:
    report = question_page.page(Results(studies.study(tmp_path), tmp_path / "runs"))
    text = Page(document.html(report)).text
    assert report.mark == "not run yet"
    assert "0 of 5 seeds of all deciding arms are measured" in text
    assert "a guess" in text


def test_a_correlation_shows_its_points(tmp_path: Path) -> None:
    decides = {"kind": "correlation", "figures": ["val/accuracy", "val/knn"], "margin": 0.3}
    arms = {f"arm {k}": [f"model.lr=0.00{k}"] for k in range(1, 6)}
    results = study_of(tmp_path, 0.1, decides=decides, arms=arms)
    deciding, points, *_ = specs(document.html(question_page.page(results)))
    assert deciding["kind"] == "intervals"
    assert [one["name"] for one in points["groups"]] == [*arms]
    assert all(len(one["points"]) == 5 for one in points["groups"])


def test_the_command_writes_a_page(here: Here) -> None:
    made.run(here.folder / "runs/vae/digits/one")
    out, _ = here("report", "vae/digits")
    assert out == "report runs/vae/digits/one/report.html\n"
    assert (here.folder / "runs/vae/digits/one/report.html").read_text().startswith("<!doctype")
    made.run(here.folder / "runs/vae/digits/two", seed=1)
    out, _ = here("report", "vae/digits", "--metric", "test/loss", "--out", "pages/both.html")
    assert out == "report pages/both.html\n"
    assert "test/loss" in (here.folder / "pages/both.html").read_text()
    studies.write(here.folder)
    out, _ = here("report", "small.yaml")
    assert out == "report small.html\n"
    assert "genlab study run small.yaml" in (here.folder / "small.html").read_text()
    here("report", "few_labels/mnist", "--known", "none")
    for pattern in ("runs/vae/digits/t*", "vae/digits/t*", "runs/vae/digits/two/"):
        assert here("report", pattern)[0] == "report runs/vae/digits/two/report.html\n"
    assert (here.folder / "mnist.html").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nosuch",), "nosuch is not a run directory"),
        (("stop_gradien",), "did you mean stop_gradient"),
        (("vae/digits", "stop_gradient"), "one study and nothing else: stop_gradient"),
        (("vae/digits", "--out", "page.pdf"), "--out page.pdf must end in .html"),
        (("vae/digits", "--metric", "val/loss"), "--metric requires several runs"),
        (("stop_gradient", "--metric", "val/loss"), "--metric requires runs"),
    ],
)
def test_wrong_words_are_refused(here: Here, words: tuple[str, ...], said: str) -> None:
    made.run(here.folder / "runs/vae/digits/one", pictures=False)
    _, err = here("report", *words, code=2)
    assert said in err
    assert len(err.strip().splitlines()) <= 3
    assert not list(here.folder.glob("*.html"))
