"""The house rule of CONTRIBUTING: first lines, arguments, words to avoid, former sentences."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from genlab.recipes import split

ROOT = Path(__file__).parents[1]
OPEN: set[str] = set()
FILES = [
    file
    for file in sorted((ROOT / "genlab").rglob("*.py"))
    if file.relative_to(ROOT / "genlab").parts[0] not in OPEN
]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "slurm" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
FIRST = re.compile(
    r"(What|Where|How|Which|Whether|Why|From|Of|That|When|Who|By|If|To|Into|Does|Is|Nothing)\b"
)
ARGUMENT = re.compile(
    r"^\s+\*{0,2}[a-z_0-9, ]+: (of|to|for|from|by|how|what|which|whether|where) ", re.M
)
CODE = re.compile(r"``.*?``|`[^`]*`|^\s*\*{0,2}[\w, ]{1,40}:(?=\s)|\S*[/_=]\S*|--\S+", re.M | re.S)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
LONGEST = 35  # words of a sentence on a page
# Sentences that were rewritten; none of them comes back.
FORMER = """\
gives exact bits per dimension
Euler's are too high
Euler's is too high
A wrong word costs three lines
Images of one's own
What generated images are worth is judged
Labels serve these figures only
is no larger batch for a contrastive loss
how many others go with each
The choice of labels lies in the run
stand beside it
waives them
All keys of `model.optimizer` are explained in
neither was tried
a blank is missing after
is not to be had
is no run
is no Lightning checkpoint
is no method of this genlab
is no SPDX identifier
is no cluster's login node
is there twice
nothing varies: give
goes without views
imbalance goes with count
free_bits goes with the ELBO
take augment or binarize away
has nothing to differ from
it would have seen more than its budget
Processes of one's own, some at a time
Every word that genlab says
at every step for nobody
Where the memory of freed tensors goes
neither the best nor the luck
is taken for train the strong
its weakly augmented twin
Refuse what is out of range; the encoder looks after its own
of no meaning here
that are borne
as so many devices would
that is not to be undercut
where they hang on the features
a mode that there is not
without the power to run code
What may stand in an optimiser's settings
"""


@cache
def read(file: Path) -> tuple[list[tuple[str, bool, str]], list[tuple[str, str]]]:
    """Docstrings and texts of errors of a file: it is parsed once for all checks."""
    docstrings, errors = [], []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, DOCUMENTED):
            name = getattr(node, "name", "module")
            if text := ast.get_docstring(node):
                where = f"{file.relative_to(ROOT)}: {name}"
                docstrings.append((where, not name.startswith("_") or name == "__call__", text))
        elif isinstance(node, ast.Raise):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    errors.append((f"{file.relative_to(ROOT)}:{node.lineno}", part.value))
    return docstrings, errors


def docstrings(file: Path) -> list[tuple[str, bool, str]]:
    """Each docstring of a file with its place, and True if it is public."""
    return read(file)[0]


def errors(file: Path) -> list[tuple[str, str]]:
    """Each text in a ``raise`` with its place."""
    return read(file)[1]


@cache
def avoided() -> list[tuple[tuple[str, ...], re.Pattern[str], str, tuple[str, ...]]]:
    """Words to avoid in small letters, as a pattern, what to write, and phrases with them."""
    found = []
    for line in (ROOT / "docs" / "style-words.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            words, write = line.split(" -> ")
            write, _, but = write.partition(" (except: ")
            each = tuple(word.lower() for word in words.split(", "))
            pattern = re.compile(rf"\b({'|'.join(map(re.escape, each))})\b", re.I)
            allowed = tuple(but.rstrip(")").split(", ")) if but else ()
            found.append((each, pattern, write, allowed))
    return found


def wrong_words(text: str) -> list[str]:
    """The avoided words of a prose text, code left out."""
    prose = re.sub(r"\s+", " ", CODE.sub(" ", text))
    found, small = [], prose.lower()
    for words, pattern, write, allowed in avoided():
        if not any(word in small for word in words):
            continue  # a search for a text is far faster than one for a pattern
        rest = prose
        for phrase in allowed:
            rest = re.sub(re.escape(phrase), " ", rest, flags=re.I)
        found += [f"{hit.group()!r}: write {write}" for hit in pattern.finditer(rest)]
    return found


def prose_of_page(text: str) -> str:
    """A Markdown page without its code blocks and tables."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return "\n".join(line for line in text.splitlines() if not re.match(r" {4}|\||\t", line))


def long_sentences(text: str) -> list[str]:
    """The sentences of a page with more words than `LONGEST`; a piece of code or a link is one."""
    text = re.sub(r"<[^<>]*>|\]\([^)]*\)", " ", text, flags=re.S)
    text = re.sub(r"`[^`]*`", "code", text)
    blocks = re.split(r"\n\s*\n|^\s*(?:[-*]|#+|\d+\.)\s", text, flags=re.M)
    sentences = [s for block in blocks for s in re.split(r"(?<=[.!?])[)\"*]*\s+", block)]
    return [" ".join(s.split()) for s in sentences if len(s.split()) > LONGEST]


def facts(file: Path) -> str:
    """A recipe's head without its commands and addresses."""
    head = split(file.read_text())[0]
    commands = r"^run: .*|^ *command: .*|genlab (evaluate|fit) [^;]*|https?:\S*"
    return re.sub(commands, "", head, flags=re.M)


def test_first_lines_name_the_thing() -> None:
    wrong = [
        f"{where}: {text.splitlines()[0]}"
        for file in FILES
        for where, public, text in docstrings(file)
        if public and FIRST.match(text)
    ]
    assert not wrong, "\n".join(wrong)


def test_arguments_begin_with_a_noun() -> None:
    wrong = [
        f"{where}: {hit.group().strip()} ..."
        for file in FILES
        for where, _, text in docstrings(file)
        for hit in ARGUMENT.finditer(text)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("part", ["docstrings", "errors", "pages", "recipes"])
def test_prose_has_the_fields_words(part: str) -> None:
    texts = {
        "docstrings": lambda: [(w, text) for file in FILES for w, _, text in docstrings(file)],
        "errors": lambda: [found for file in FILES for found in errors(file)],
        "pages": lambda: [(page.name, prose_of_page(page.read_text())) for page in PAGES],
        "recipes": lambda: [(str(file.relative_to(ROOT)), facts(file)) for file in RECIPES],
    }[part]()
    wrong = [f"{where}: {word}" for where, text in texts for word in wrong_words(text)]
    assert texts
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_sentences_are_short(page: Path) -> None:
    wrong = long_sentences(prose_of_page(page.read_text()))
    assert not wrong, f"{page.name}:\n" + "\n".join(wrong)


def test_the_check_finds_a_long_sentence() -> None:
    assert long_sentences("Short. " + "word " * 36 + ".") != []
    assert long_sentences("A `" + "word " * 36 + "` is one word.") == []


def test_no_former_sentence_is_left() -> None:
    files = [*FILES, *PAGES, *RECIPES]
    texts = {file: re.sub(r"\s+", " ", file.read_text()) for file in files}
    wrong = [
        f"{file.relative_to(ROOT)}: {phrase}"
        for phrase in FORMER.splitlines()
        for file, text in texts.items()
        if phrase in text
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("It is no run.", "is no"),
        ("Final figures of a run.", "figures"),
        ("The colours of an image.", "colours"),
        ("Written beside the file.", "beside"),
    ],
)
def test_the_check_finds_a_wrong_word(text: str, word: str) -> None:
    assert wrong_words(text)[0].startswith(f"{word!r}: write ")


@pytest.mark.parametrize(
    "text",
    ["There is no run.", "See figure 2 of the paper.", "Drawn in ``pictures/``, see `words`."],
)
def test_the_check_passes_right_ones(text: str) -> None:
    assert not wrong_words(text)
