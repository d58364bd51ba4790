"""Actions of ``runs``: rm, archive, du and diff."""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from genlab.cli.tables import bytes_of, print_table
from genlab.errors import RecipeError, RunError, cannot_write
from genlab.files import shown_path
from genlab.runs import archives, differences, finding, removal, sizes
from genlab.runs.rows import Row, damaged
from genlab.runs.settings import shown

MOST = 10  # runs that a question names
WIDEST = 40  # characters of a value in a table


def rm(rows: Sequence[Row], root: str, yes: bool) -> int:
    """Remove runs, after a question."""
    return _each("remove", "removed", rows, yes, lambda row: removal.delete(root, row.path))


def archive(rows: Sequence[Row], root: str, yes: bool) -> int:
    """Put each run into one checked file, after a question."""

    def put(row: Row) -> None:
        print(shown_path(archives.archive(root, row.path)))

    return _each("archive", "archived", rows, yes, put)


def restore(words: Sequence[str], yes: bool) -> int:
    """Unpack archives where their runs were, after a question."""
    if not words:
        raise RecipeError("genlab runs archive --restore: which archive?")
    _ask(f"restore {', '.join(words[:MOST])}?", yes)
    for word in words:
        try:
            print(shown_path(archives.restore(Path(word))))
        except OSError as error:
            raise cannot_write(word, error) from None
    return 0


def _each(verb: str, done: str, rows: Sequence[Row], yes: bool, act: Callable[[Row], None]) -> int:
    """Do something to the runs that do not train, after a question."""
    running = [row for row in rows if row.state == "running"]
    rest = [row for row in rows if row.state != "running"]
    for row in running:
        print(f"left as it is: {row.path} is running", file=sys.stderr)
    if not rest:
        print(f"no runs to {verb}", file=sys.stderr)
        return int(bool(running))
    size = bytes_of(sum(row.size for row in rest))
    for row in rest[:MOST] if not yes else ():
        print(f"  {row.path}  {row.state}, {bytes_of(row.size)}", file=sys.stderr)
    if len(rest) > MOST and not yes:
        print(f"  and {len(rest) - MOST} more", file=sys.stderr)
    _ask(f"{verb} {_count(rest)}, {size}?", yes)
    gone = [row for row in rest if _is_done(act, row)]
    print(f"{done} {_count(gone)}, {bytes_of(sum(row.size for row in gone))}")
    return int(len(gone) < len(rows))


def _is_done(act: Callable[[Row], None], row: Row) -> bool:
    """Do something to a run; what hinders it is reported, and the next one follows."""
    try:
        act(row)
    except (RunError, OSError) as error:
        what = cannot_write(row.path, error) if isinstance(error, OSError) else error
        print(f"left as it is: {what}", file=sys.stderr)
        return False
    return True


def _count(rows: Sequence[Row]) -> str:
    return f"{len(rows)} run" + ("s" if len(rows) != 1 else "")


def _ask(question: str, yes: bool) -> None:
    """Ask on the terminal.

    Raises:
        RunError: there is no terminal, or the answer is not yes.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise RunError(f"{question} There is no terminal to ask on\n--yes answers it")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise RunError("nothing was changed")


def du(rows: Sequence[Row], root: str, as_json: bool) -> int:
    """Print bytes of runs by kind, the largest last, and those of archives."""
    found = {row.path: sizes.sizes(Path(root) / row.path) for row in rows}
    kept = {str(file): sizes.size_of(file) for file in sizes.archives(root)}
    if as_json:
        print(json_format.dumps({"runs": found, "archives": kept}, indent=2))
        return 0
    whole = {name: sum(one[name] for one in found.values()) for name in sizes.NAMES}
    order = sorted(rows, key=lambda row: sum(found[row.path].values()))
    table = [
        {"RUN": row.id, "RECIPE": row.recipe, "STATE": row.state} | _amounts(found[row.path])
        for row in order
    ]
    total = {"RUN": f"all {len(rows)}", "RECIPE": "", "STATE": ""} | _amounts(whole)
    kinds = [name.upper() for name in sizes.NAMES]
    print_table(
        [*table, total], right=[*kinds, "SIZE"], spare=["STATE", *reversed(kinds), "RECIPE"]
    )
    if kept:
        print(f"archives: {len(kept)}, {bytes_of(sum(kept.values()))}")
    return 0


def _amounts(of_kind: dict[str, int]) -> dict[str, str]:
    """Columns of a table; empty for nothing."""
    cells = {name.upper(): bytes_of(size) if size else "" for name, size in of_kind.items()}
    return cells | {"SIZE": bytes_of(sum(of_kind.values()))}


def diff(words: Sequence[str], root: str, as_json: bool) -> int:
    """Print what differs between two runs, a line each."""
    if len(words) != 2:
        raise RecipeError(f"genlab runs diff takes two runs, not {len(words)}")
    first, second = (_newest(word, root) for word in words)
    if first == second:
        print(f"{words[0]} and {words[1]} are one run: {shown_path(first)}", file=sys.stderr)
    found = differences.difference(first, second)
    for file in (*damaged(first), *damaged(second)):
        print(f"damaged: {shown_path(file)}", file=sys.stderr)
    if as_json:
        parts = {name: {key: list(pair) for key, pair in part.items()}
                 for name, part in found.parts.items()}  # fmt: skip
        print(json_format.dumps({"runs": [str(first), str(second)]} | parts, indent=2))
        return 0
    print(f"A {shown_path(first)}\nB {shown_path(second)}")
    for name, part in found.parts.items():
        if part:
            print(f"\n{name}")
            _print_pairs(part)
    same = ", ".join(f"{count} {name}" for name, count in found.same.items() if count)
    print(f"\nthe same: {same or 'nothing'}")
    if found.is_one:
        print("one fingerprint and seed: these are the same run, twice")
    return 0


def _newest(word: str, root: str) -> Path:
    """The run that a name means; of a method's runs the newest."""
    family = finding.meant(f"{word}/*", [name for name, one in finding.names(root) if one], root)
    return (
        max(family, key=lambda run: finding.written(run) or 0)
        if family
        else finding.find(word, root)
    )


def _print_pairs(pairs: dict[str, tuple[Any, Any]]) -> None:
    """A line for each name with both values; a line for each value where one is wide."""
    texts = {key: [_value(one) for one in pair] for key, pair in pairs.items()}
    narrow = {key: both for key, both in texts.items() if max(map(len, both)) <= WIDEST}
    name = max(map(len, narrow), default=0)
    value = max((len(both[0]) for both in narrow.values()), default=0)
    for key, (one, other) in texts.items():
        if key in narrow:
            print(f"  {key:<{name}}  {one:<{value}}  {other}")
        else:
            print(f"  {key}\n    A {one}\n    B {other}")


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else shown(value, 1000)
