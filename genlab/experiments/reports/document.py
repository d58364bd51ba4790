"""A report as one HTML file with everything that it needs inside."""

from __future__ import annotations

import itertools
import json
from functools import cache
from importlib.resources import files
from typing import Any

from genlab import __version__
from genlab.experiments.reports.blocks import Chart, Fold, Report, Row

ASSETS = files("genlab.experiments.reports") / "assets"


def html(report: Report, made: str = "") -> str:
    """The page.

    Args:
        report: its content.
        made: command that makes it again, at the foot of the page.
    """
    sections = [section for section in report.sections if section.blocks]
    charts = [chart.spec for section in sections for chart in _charts(section.blocks)]
    text: str = _template().render(
        report=report,
        sections=sections,
        made=made,
        version=__version__,
        style=_asset("report.css"),
        script=_asset("report.js"),
        library=_asset("echarts.min.js") if charts else "",
        specs=_json(charts),
        number=itertools.count().__next__,
    )
    return text


def _charts(blocks: Any) -> list[Chart]:
    """Charts in the order in which the template meets them."""
    found: list[Chart] = []
    for block in blocks:
        if isinstance(block, Chart):
            found.append(block)
        elif isinstance(block, Fold | Row):
            found += _charts(block.blocks)
    return found


def _json(value: Any) -> str:
    """JSON inside a script: nothing in it ends the script."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


@cache
def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    from jinja2 import Environment  # comes with torch

    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        _asset("report.html")
    )
