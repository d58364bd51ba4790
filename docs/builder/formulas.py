"""Formulas in LaTeX become MathML while the site is built: no script, no request.

A hook of mkdocs. In a page ``$...$`` stands in a line, ``$$`` on lines of their own. The font
STIX Two Math comes from the package ziamath, cut down to what formulas use.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<open>[(\[])(?P<tex>.*?)\\[)\]]</(?P=tag)>', re.S
)
NAME = re.compile(r"(<mi>(?:log|exp|max|min|cos|det)</mi>)(?=<m(?:i|n|frac|sub|sup|subsup|over)>)")
SPACED = r'\1<mspace width="0.17em"/>'  # as TeX sets the names of functions
FONT = "assets/stix-two-math.ttf"
CHARACTERS = (  # Latin, Greek, punctuation, arrows, operators, letters of formulas
    (0x20, 0x7E), (0xA0, 0xFF), (0x300, 0x338), (0x370, 0x3FF), (0x2000, 0x206F),
    (0x2100, 0x214F), (0x2190, 0x21FF), (0x2200, 0x22FF), (0x2308, 0x230B), (0x27E6, 0x27EF),
    (0x2A00, 0x2A0F), (0x1D400, 0x1D503), (0x1D538, 0x1D56B),
)  # fmt: skip


def mathml(content: str) -> str:
    """HTML with every formula of arithmatex as MathML."""
    from latex2mathml.converter import convert

    def converted(match: re.Match[str]) -> str:
        block = match["open"] == "["
        math = convert(html.unescape(match["tex"]).strip(), display="block" if block else "inline")
        math = NAME.sub(SPACED, math)
        return f'<div class="formula">{math}</div>' if block else math

    return FORMULA.sub(converted, content)


def on_page_content(content: str, **_: Any) -> str:
    """Convert a page's formulas; called by mkdocs."""
    return mathml(content)


def on_post_build(config: Any) -> None:
    """Put the font of formulas beside the site's styles; called by mkdocs."""
    target = Path(config["site_dir"]) / FONT
    target.parent.mkdir(parents=True, exist_ok=True)
    write_font(target)


def write_font(target: Path) -> None:
    """Write the characters of STIX Two Math that formulas need."""
    import ziamath
    from fontTools import subset

    source = Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf"
    options = subset.Options(layout_features=["ssty", "dtls"], notdef_outline=True)
    font = subset.load_font(str(source), options)
    cut = subset.Subsetter(options)
    cut.populate(unicodes=[c for first, last in CHARACTERS for c in range(first, last + 1)])
    cut.subset(font)
    subset.save_font(font, str(target), options)
