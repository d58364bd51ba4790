"""Tables of images: CSV, JSON lines, Parquet; a list of rows, each a dictionary."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.errors import nearest

Row = dict[str, Any]
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
CELL = 2**20  # characters that a cell may have


def read_table(file: Path, columns: list[str]) -> list[Row]:
    """The rows of a table.

    Args:
        file: path; its suffix says the format, one of `SUFFIXES`. CSV has a first line of names.
        columns: names that every row must have.

    Raises:
        MissingDataError: no such file.
        BrokenDataError: an unknown format, a damaged row (by its number), or a missing column.
    """
    kind = file.suffix.lower()
    if kind not in SUFFIXES:
        raise BrokenDataError(
            f"{file} is not a table: its suffix must be one of {', '.join(SUFFIXES)}"
        )
    if not file.is_file():
        raise MissingDataError(f"no table {file}")
    try:
        rows = list(_parquet(file) if kind == ".parquet" else _lines(file, kind))
    except UnicodeDecodeError as error:
        raise BrokenDataError(
            f"{file} is not UTF-8: {error.reason} at byte {error.start}"
        ) from None
    if not rows:
        raise BrokenDataError(f"{file} has no rows")
    for number, row in enumerate(rows, 1):
        for name in columns:
            if name not in row:
                hint = nearest(name, row)
                raise BrokenDataError(f"{file}, row {number}: no column {name!r}; {hint}")
    return rows


def _lines(file: Path, kind: str) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        if kind in (".csv", ".tsv"):
            yield from _csv(file, csv.reader(stream, delimiter="\t" if kind == ".tsv" else ","))
            return
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield _json(file, number, line)


def _csv(file: Path, lines: Iterator[list[str]]) -> Iterator[Row]:
    csv.field_size_limit(CELL)
    try:
        names = next(lines, [])
        if len(set(names)) < len(names):
            raise BrokenDataError(f"{file}: a column's name occurs twice in its first line")
        for number, cells in enumerate(lines, 1):
            if not cells:
                continue
            if len(cells) != len(names):
                raise BrokenDataError(
                    f"{file}, row {number}: {len(cells)} cells, the first line names {len(names)}"
                )
            yield dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise BrokenDataError(f"{file} is not a CSV table: {error}") from None


def _json(file: Path, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BrokenDataError(f"{file}, row {number} is not JSON: {error}") from None
    if not isinstance(row, dict):
        raise BrokenDataError(f"{file}, row {number} is not a mapping of column names")
    return row


def _parquet(file: Path) -> Iterator[Row]:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise BrokenDataError(f"{file}: Parquet requires pyarrow: pip install pyarrow") from None
    try:
        rows: list[Row] = parquet.read_table(file).to_pylist()
    except Exception as error:  # pyarrow has a dozen kinds
        raise BrokenDataError(f"{file} is not a Parquet table: {error}".splitlines()[0]) from None
    yield from rows
