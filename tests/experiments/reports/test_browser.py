"""Pages in a real headless Chromium: drawn, decoded, no wider than the window, by keyboard."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from genlab.experiments.comparison import Run
from genlab.experiments.reports import document, question_page, run_page, sweep_page
from tests.experiments.reports import made
from tests.experiments.reports.browser import Browser, found
from tests.experiments.reports.test_reports import study_of, sweep

pytestmark = pytest.mark.skipif(found() is None, reason="no Chromium is installed")
WIDER = """[...document.querySelectorAll('body *')]
  .filter(one => !one.closest('.scroll, .frames, pre, .skip'))
  .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
  .map(one => one.outerHTML.slice(0, 80))"""
BROKEN = """Promise.all([...document.images].map(one => one.decode().then(() => 0, () => 1)))
  .then(all => all.reduce((a, b) => a + b, 0))"""
INK = """[...document.querySelectorAll('.chart')].filter(one => one.offsetParent).map(one => {
  const canvas = one.querySelector('canvas');
  if (!canvas) return 0;
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let count = 0;
  for (let i = 3; i < pixels.length; i += 4) count += pixels[i] > 0;
  return count; })"""
DRAWN = "[...document.querySelectorAll('.chart')].every(one => one.chart || !one.offsetParent)"
SHOWN = "document.querySelector('figure.images:has(input) img:not([hidden])').dataset.label"
FIRST = "document.querySelector('table.sorts tbody tr').innerText"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("pages")
    found = sweep(place)
    made_ = {
        "run": run_page.page(found[0]),
        "sweep": sweep_page.page("widths", found),
        "study": question_page.page(study_of(place, 0.3)),
    }
    for name, report in made_.items():
        (place / f"{name}.html").write_text(document.html(report))
    return {name: place / f"{name}.html" for name in made_}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["run", "sweep", "study"])
def test_a_page_is_whole(
    browser: Browser, pages: dict[str, Path], name: str, width: int, dark: bool
) -> None:
    browser.window(width, 6000, dark)
    browser.open(pages[name])
    deadline = time.monotonic() + 20
    while not browser.run(DRAWN):  # charts are drawn when seen
        assert time.monotonic() < deadline
        time.sleep(0.05)
    browser.run("new Promise(done => setTimeout(done, 100)).then(() => 1)")
    assert browser.run(WIDER) == []
    assert browser.run(BROKEN) == 0
    assert browser.requests() == []
    assert browser.complaints() == []
    ink = browser.run(INK)
    assert ink
    assert min(ink) > 500  # pixels
    theme = browser.run("document.documentElement.dataset.theme")
    assert theme == ("dark" if dark else "light")


def test_images_of_a_sweep_begin_with_its_best(browser: Browser, pages: dict[str, Path]) -> None:
    browser.window(1280)
    browser.open(pages["sweep"])
    best = browser.run("document.querySelectorAll('table.sorts tbody td')[1].innerText")
    assert browser.run(SHOWN).split(",")[0] == f"latent_dim={best}"
    assert browser.run("document.querySelector('.slider input').value") == "0"


def test_the_slider_and_the_theme_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    browser.window(1280)
    browser.open(pages["run"])
    browser.run("document.querySelector('.slider input').focus()")
    assert browser.run(SHOWN) == "step 300"
    browser.press("ArrowLeft")
    assert browser.run(SHOWN) == "step 200"
    assert browser.run("document.querySelector('output').textContent") == "step 200"
    browser.open(pages["run"])
    for _ in range(2):  # past the link to the content
        browser.press("Tab")
    assert browser.run("document.activeElement.id") == "theme"
    browser.press("Enter")
    assert browser.run("document.documentElement.dataset.theme") == "dark"


def test_a_table_sorts_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    browser.window(1280)
    browser.open(pages["sweep"])
    place = "document.querySelectorAll('table.sorts th button')[0]"
    browser.run(f"{place}.focus()")
    browser.press("Enter")
    assert browser.run(FIRST).startswith("2\t")
    browser.press("Enter")
    assert browser.run(FIRST).startswith("32\t")
    assert browser.run(f"{place}.parentElement.getAttribute('aria-sort')") == "descending"


def test_a_chart_is_zoomed_and_read_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    browser.window(1280, 6000)
    browser.open(pages["run"])
    place = "document.querySelector('.chart')"
    browser.run(f"new Promise(d => setTimeout(d, 300)).then(() => {place}.focus())")
    span = f"(z => z.end - z.start)({place}.chart.getOption().dataZoom[0])"
    assert browser.run(span) == 100
    browser.press("+")
    assert browser.run(span) == 50
    browser.press("0")
    assert browser.run(span) == 100
    browser.press("ArrowRight")
    tip = f"{place}.innerText"
    assert "train/loss" in browser.run(tip)


def test_long_runs_open_at_once(browser: Browser, tmp_path: Path) -> None:
    """The quicker of three: a busy machine may hold one up."""
    browser.window(1280)
    run = Run(made.run(tmp_path / "runs/vae/digits/long", rows=100_000))
    page = tmp_path / "long.html"
    page.write_text(document.html(run_page.page(run)))
    assert page.stat().st_size < 3_000_000
    assert min(browser.open(page) for _ in range(3)) < 2
