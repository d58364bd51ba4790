"""The built site: `make docs` builds it and runs these."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build" / "site"
LOADED = {("link", "href"), ("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src")}
pytestmark = pytest.mark.site


class Page(HTMLParser):
    """Addresses and anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.anchors = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            if value and (tag, name) in LOADED and dict(attrs).get("rel") != "canonical":
                self.loaded.append(value)
            if value and (tag, name) == ("a", "href"):
                self.links.append(value)


@cache
def pages() -> dict[Path, Page]:
    assert (SITE / "index.html").is_file(), "no site: make docs builds it"
    return {file: Page(file.read_text()) for file in sorted(SITE.rglob("*.html"))}


def is_external(address: str) -> bool:
    return bool(urlsplit(address).netloc) or address.startswith("mailto:")


def inside() -> Iterator[tuple[Path, str]]:
    """Each page with its addresses on this site."""
    for file, page in pages().items():
        if file.name != "404.html":
            for address in {*page.loaded, *page.links}:
                if not is_external(address) and not address.startswith("data:"):
                    yield file, address


def target(file: Path, address: str) -> Path:
    """The file that an address on a page means."""
    path = unquote(urlsplit(address).path)
    found = (file.parent / path).resolve() if path else file
    return found / "index.html" if found.is_dir() else found


def test_pages_load_nothing_from_elsewhere() -> None:
    wrong = [f"{f}: {a}" for f, page in pages().items() for a in page.loaded if is_external(a)]
    assert sum(len(page.loaded) for page in pages().values()) > len(pages())
    assert not wrong, "\n".join(wrong)


def test_styles_load_nothing_from_elsewhere() -> None:
    styles = list(SITE.rglob("*.css"))
    wrong = [
        f"{file.name}: {hit}"
        for file in styles
        for hit in re.findall(r"@import[^;]+|url\(\s*['\"]?(?:https?:)?//[^)]*\)", file.read_text())
    ]
    assert styles
    assert not wrong, "\n".join(wrong)


def test_links_and_anchors_lead_somewhere() -> None:
    dead = []
    for file, address in inside():
        to = target(file, address)
        if not to.is_file():
            dead.append(f"{file.relative_to(SITE)}: {address}")
        elif to in pages() and unquote(urlsplit(address).fragment) not in pages()[to].anchors:
            dead.append(f"{file.relative_to(SITE)}: {address} (anchor)")
    assert not dead, "\n".join(sorted(dead))


def test_external_links_are_listed() -> None:
    """``build/external-links.txt`` has each address outside with a page that links it."""
    found: dict[str, str] = {}
    for file, page in pages().items():
        for address in filter(is_external, page.links):
            found.setdefault(address, file.relative_to(SITE).as_posix())
    lines = [f"{address}  {page}" for address, page in sorted(found.items())]
    (ROOT / "build" / "external-links.txt").write_text("\n".join(lines) + "\n")
    assert all(address.startswith("https://") for address in found), lines


def test_formulas_have_their_font() -> None:
    style = (SITE / "assets" / "site.css").read_text()
    font = SITE / "assets" / "stix-two-math.ttf"
    assert "stix-two-math.ttf" in style
    assert 100_000 < font.stat().st_size < 700_000
