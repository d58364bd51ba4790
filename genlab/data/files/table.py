"""Tables of images: CSV, JSON lines, Parquet; rows by their numbers, each a dictionary."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.data.files.arrow import pyarrow_for, said
from genlab.errors import nearest

Row = dict[str, Any]
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
CELL = 2**20  # characters that a cell may have


def read_table(file: Path, columns: list[str]) -> dict[int, Row]:
    """The rows of a table by their numbers, from 1 on; empty ones count and are left out.

    Args:
        file: path; its suffix says the format, one of `SUFFIXES`. CSV has a first line of names.
        columns: names that every row must have.

    Raises:
        MissingDataError: no such file, or no pyarrow for a Parquet file.
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
        rows = dict(_parquet(file) if kind == ".parquet" else _lines(file, kind))
    except UnicodeDecodeError as error:
        raise BrokenDataError(
            f"{file} is not UTF-8: {error.reason} at byte {error.start}"
        ) from None
    if not rows:
        raise BrokenDataError(f"{file} has no rows")
    for number, row in rows.items():
        for name in columns:
            if name not in row:
                hint = nearest(name, row)
                raise BrokenDataError(f"{file}, row {number}: no column {name!r}; {hint}")
    return rows


def _lines(file: Path, kind: str) -> Iterator[tuple[int, Row]]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        if kind in (".csv", ".tsv"):
            yield from _csv(file, csv.reader(stream, delimiter="\t" if kind == ".tsv" else ","))
            return
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield number, _json(file, number, line)


def _csv(file: Path, lines: Iterator[list[str]]) -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(CELL)
    try:
        names = next(lines, [])
        if len(names) == 1 and (other := next((mark for mark in ";\t," if mark in names[0]), "")):
            raise BrokenDataError(
                f"{file}: cells are separated by {other!r}, not by ',' (.csv) or a tab (.tsv)"
            )
        if len(set(names)) < len(names):
            raise BrokenDataError(f"{file}: a column's name occurs twice in its first line")
        for number, cells in enumerate(lines, 1):
            if not cells:
                continue
            if len(cells) != len(names):
                raise BrokenDataError(
                    f"{file}, row {number}: {len(cells)} cells, the first line names {len(names)}"
                )
            yield number, dict(zip(names, cells, strict=True))
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


def _parquet(file: Path) -> Iterator[tuple[int, Row]]:
    library = pyarrow_for(file)
    with said(file):
        rows: list[Row] = library.parquet.read_table(file).to_pylist()
    yield from enumerate(rows, 1)
