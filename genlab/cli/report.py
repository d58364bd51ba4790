"""``report``: one HTML page of a run, of several, or of a study."""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from genlab.cli.compare import beside, readable
from genlab.cli.study import published_results
from genlab.errors import RecipeError, RunError, first_line, nearest
from genlab.experiments import page_results, study_files
from genlab.experiments.comparison import Run, chosen
from genlab.experiments.reports.blocks import Report
from genlab.files import shown_path
from genlab.runs.rows import damaged
from genlab.runs.selection import metric_of

MOST_BYTES = 3_000_000  # of a page that opens at once


def report_options(parser: ArgumentParser) -> None:
    """Write one page that needs no network: a run, a sweep or any runs, or a study.

    A run: metrics, curves, images with a slider over training, settings, history, cost. Several
    runs: a table that sorts, what the settings do, curves with bands. A study: verdict, deciding
    plot, arms. The file opens in any browser.
    """
    parser.add_argument("what", nargs="+", metavar="RUN|SWEEP|PATTERN|STUDY")
    parser.add_argument("--metric", metavar="val/loss,...", help="metrics of several runs")
    parser.add_argument("--out", metavar="FILE.html", help="default: report.html next to the runs")
    parser.add_argument(
        "--known", metavar="DIR", help="folder with a study's results, STUDY.json; none"
    )
    parser.add_argument("--runs-in", dest="root", default="runs", metavar="DIR")


def report(
    what: list[str], metric: str | None, out: str | None, known: str | None, root: str
) -> None:
    """Write the page and print its path."""
    if out is not None and Path(out).suffix.lower() not in (".html", ".htm"):
        raise RecipeError(f"--out {out} must end in .html")
    made = f"genlab report {' '.join(map(shlex.quote, what))}"
    from genlab.experiments.reports import study_page

    study = study_page.page(what[0], Path(root), published_results(known)) if not what[1:] else None
    if study is not None:
        if metric is not None:
            raise RecipeError("--metric requires runs", what[0])
        _write(study, Path(out or f"{what[0].rpartition('/')[2].removesuffix('.yaml')}.html"), made)
        return
    found = _runs(what, root)
    if len(found) == 1:
        if metric is not None:
            raise RecipeError("--metric requires several runs", shown_path(found[0].path))
        from genlab.experiments.reports import run_page

        _write(run_page.page(found[0]), Path(out) if out else found[0].path / "report.html", made)
        return
    from genlab.experiments.reports import sweep_page

    names = {key for run in found for key in run.figures}
    asked = [metric_of(one, names, "--metric") for one in metric.split(",")] if metric else []
    for one in asked:
        if one not in names:
            raise RecipeError(f"--metric: no run has the metric {one}", hint=nearest(one, names))
    page = sweep_page.page(_title(what), found, asked)
    _write(page, Path(out) if out else beside(found, what, root, "report.html"), made)


def _runs(what: Sequence[str], root: str) -> list[Run]:
    """The runs that arguments mean, without those whose files are damaged.

    Raises:
        RunError: an argument means neither a run nor a study, or the files of all are damaged.
    """
    try:
        found = chosen(what, root)
    except RunError as error:
        studies = [*study_files.shipped(True), *study_files.shipped(False)]
        if known := [word for word in what if word in studies]:
            raise RecipeError(f"report takes one study and nothing else: {known[0]}") from None
        close = [near for word in what if (near := nearest(word, studies))]
        if not close:
            raise
        raise RunError(f"{first_line(error)}; of studies {close[0]}") from None
    if not found[1:] and found[0].damage:
        raise RunError(found[0].damage)
    for run in found:
        if names := ", ".join(file.name for file in damaged(run.path)):
            print(f"damaged: {names} in {shown_path(run.path)}", file=sys.stderr)
    return readable(found)


def _title(what: Sequence[str]) -> str:
    """The arguments, of folders the last part."""
    names = [Path(word).name if Path(word).exists() else word for word in what]
    return ", ".join(dict.fromkeys(names))


def _write(page: Report, target: Path, made: str) -> None:
    from genlab.experiments.reports import document

    text = document.html(page, made)
    page_results.write_text(target, text)
    print(f"report {shown_path(target)}")
    if (size := len(text.encode())) > MOST_BYTES:
        print(f"it has {size / 1e6:.1f} MB", file=sys.stderr)
