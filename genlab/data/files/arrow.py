"""Images and labels in the columns of Arrow and Parquet files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genlab import process
from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.data.files.cache import alone, kept_at, read_copies
from genlab.errors import cannot_write, first_line, nearest
from genlab.files import check_regular, replacing

FEATURES = b"huggingface"  # key of a schema's metadata
MAGIC = b"ARROW1"  # of the file format; a stream has none
AT_ONCE = 32  # images of a Parquet file in memory while it is unpacked
VERSION = 1  # of what is kept in the cache
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Held:
    """Places of the images of a file.

    Args:
        file: the file that holds their bytes.
        offsets, lengths: (N,) places in it; length 0 where an image is missing.
    """

    file: Path
    offsets: Numbers
    lengths: Numbers


@dataclass(frozen=True)
class Column:
    """A column of labels: a number for each row, or a text; None where unknown."""

    values: list[Any]
    names: list[str] | None  # of the numbers, where the file says them


class Columns:
    """The columns of one file.

    Args:
        file: a ``.arrow`` or ``.parquet`` file.

    Attributes:
        count: number of its rows.

    Raises:
        MissingDataError: no such file, or no pyarrow.
        BrokenDataError: not such a file, or a damaged one.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.parquet = file, file.suffix.lower() == ".parquet"
        if not file.is_file():
            raise MissingDataError(f"no file {file}")
        self._arrow = pyarrow_for(file)
        with said(file):
            self._open()

    def _open(self) -> None:
        if self.parquet:
            self._table = self._arrow.parquet.ParquetFile(self.file)
            self._schema = self._table.schema_arrow
            self.count = int(self._table.metadata.num_rows)
            return
        memory = self._arrow.memory_map(str(self.file))
        self._start = memory.read_buffer(len(MAGIC)).address if memory.size() else 0
        ipc = self._arrow.ipc
        with self.file.open("rb") as stream:
            reads = ipc.open_file if stream.read(len(MAGIC)) == MAGIC else ipc.open_stream
        memory.seek(0)
        self._table = reads(memory).read_all()
        self._schema = self._table.schema
        self.count = int(self._table.num_rows)

    def image_column(self, asked: str | None) -> str:
        """Name of the column of images: the one asked for, or the only one there is.

        Raises:
            BrokenDataError: none, or several.
        """
        names = [field.name for field in self._schema if self._is_image(field.type)]
        if asked is not None and asked not in self._schema.names:
            hint = nearest(asked, self._schema.names)
            raise BrokenDataError(f"{self.file}: no column {asked!r}; {hint}")
        found = names if asked is None else [name for name in names if name == asked]
        if len(found) == 1:
            return str(found[0])
        if asked is not None:
            raise BrokenDataError(f"{self.file}: column {asked!r} contains no encoded images")
        said = f"several columns of images: {', '.join(names)}; set data.image" if names else (
            f"no column of encoded images among {', '.join(self._schema.names) or 'none'}"
        )  # fmt: skip
        raise BrokenDataError(f"{self.file}: {said}")

    def labels(self, name: str) -> Column:
        """A column of labels.

        Raises:
            BrokenDataError: no such column, or not one of whole numbers or texts.
        """
        if name not in self._schema.names:
            hint = nearest(name, self._schema.names)
            raise BrokenDataError(f"{self.file}: no column {name!r} of labels; {hint}")
        kind = self._schema.field(name).type
        types = self._arrow.types
        fit = types.is_integer, types.is_string, types.is_large_string, types.is_null
        if not any(check(kind) for check in fit):
            raise BrokenDataError(
                f"{self.file}: column {name!r} contains {kind}, not whole numbers or texts"
            )
        with said(self.file):
            table = self._table.read(columns=[name]) if self.parquet else self._table
            table.column(name).validate(full=True)
            return Column(table.column(name).to_pylist(), self._names(name))

    def images(self, name: str) -> Held:
        """Places of the images of a column; those of Parquet are unpacked into the cache first.

        Raises:
            BrokenDataError: compressed Arrow, or a column that only names files.
        """
        held = self._unpacked(name) if self.parquet else self._in_place(name)
        if len(held.lengths) and not held.lengths.any():
            raise BrokenDataError(
                f"{self.file}: column {name!r} contains no images, at most their paths; "
                "the datasets library's save_to_disk and push_to_hub put them in"
            )
        return held

    def _in_place(self, name: str) -> Held:
        offsets, lengths = [], []
        size = self.file.stat().st_size
        with said(self.file):
            for chunk in self._table.column(name).chunks:
                chunk.validate(full=True)
                at, long = _places(self._arrow, self._bytes(chunk))
                offsets.append(at - self._start)
                lengths.append(long)
        at, long = _joined(offsets), _joined(lengths)
        if ((long > 0) & ((at < 0) | (at + long > size))).any():
            raise BrokenDataError(f"{self.file} is compressed: save it without, or as Parquet")
        return Held(self.file, at, long)

    def _is_image(self, kind: Any) -> bool:
        """True for a struct with ``bytes``, and for bytes."""
        types = self._arrow.types
        if types.is_struct(kind):
            return any(field.name == "bytes" and self._is_binary(field.type) for field in kind)
        return self._is_binary(kind)

    def _is_binary(self, kind: Any) -> bool:
        types = self._arrow.types
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    def _bytes(self, chunk: Any) -> Any:
        """The array of bytes in a piece of a column of images."""
        if not self._arrow.types.is_struct(chunk.type):
            return chunk
        return chunk.flatten()[chunk.type.get_field_index("bytes")]

    def _names(self, column: str) -> list[str] | None:
        """Names of classes in the metadata that the datasets library writes."""
        try:
            features = json.loads(self._schema.metadata[FEATURES])["info"]["features"]
            names = features[column]["names"]
        except (ValueError, LookupError, TypeError, RecursionError):
            return None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return None
        return names

    def _unpacked(self, name: str) -> Held:
        """Images of a Parquet column: compressed there, they are copied once, as they are.

        Another column or a changed file is another copy: who reads one keeps its images, and
        outdated ones are deleted when nobody reads.
        """
        seen = self.file.stat()
        head = json.dumps([VERSION, str(self.file), seen.st_size, seen.st_mtime_ns, name])
        copies = kept_at("unpacked", f"{self.file}\n{name}", "")
        blob, table = (kept_at(f"unpacked/{copies.name}", head, end) for end in (".images", ".npz"))
        with alone(blob):
            read_copies(copies.parent)
            if (lengths := _kept(table, blob, head)) is None:
                try:
                    lengths = self._unpack(name, blob)
                    with replacing(table) as draft, draft.open("wb") as stream:
                        text = np.frombuffer(head.encode(), np.uint8)
                        np.savez(stream, head=text, lengths=lengths)
                except OSError as error:
                    raise cannot_write(blob, error, "XDG_CACHE_HOME names another cache") from None
        return Held(blob, np.cumsum(lengths) - lengths, lengths)

    def _unpack(self, name: str, blob: Path) -> Numbers:
        lengths = []
        if process.is_first():
            print(f"{self.file}: images are unpacked once into {blob}", file=sys.stderr)
        with replacing(blob) as draft, draft.open("wb") as stream:
            for chunk in self._chunks(name):
                for data in self._bytes(chunk).to_pylist():
                    lengths.append(len(data or b""))
                    stream.write(data or b"")
        return np.array(lengths, np.int64)

    def _chunks(self, name: str) -> Iterator[Any]:
        with said(self.file):
            batches = self._table.iter_batches(AT_ONCE, columns=[name], use_threads=False)
        while True:
            with said(self.file):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch.column(0)


def _places(arrow: Any, array: Any) -> tuple[Numbers, Numbers]:
    """Addresses and lengths of the elements of an array of bytes."""
    kind = np.int64 if arrow.types.is_large_binary(array.type) else np.int32
    _, ends, data = array.buffers()
    if not len(array) or data is None:
        return np.zeros(len(array), np.int64), np.zeros(len(array), np.int64)
    own = np.frombuffer(ends, kind)[array.offset : array.offset + len(array) + 1].astype(np.int64)
    lengths = np.diff(own)
    lengths[array.is_null().to_numpy(zero_copy_only=False)] = 0
    return own[:-1] + data.address, lengths


def _joined(pieces: list[Numbers]) -> Numbers:
    return np.concatenate([np.zeros(0, np.int64), *pieces])


def _kept(table: Path, blob: Path, head: str) -> Numbers | None:
    """Lengths of the images that are in the cache; None where they are not, or are of others."""
    try:
        with table.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            if kept["head"].tobytes().decode() != head:
                return None
            lengths: Numbers = kept["lengths"]
        check_regular(blob)
        return lengths if blob.stat().st_size == lengths.sum() else None
    except Exception:  # a damaged file makes NumPy and zipfile raise a dozen kinds
        return None


def pyarrow_for(file: Path) -> Any:
    """The library, needed to read a file.

    Raises:
        MissingDataError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise MissingDataError(f"{file} requires pyarrow: pip install pyarrow") from None
    return pyarrow


@contextmanager
def said(file: Path) -> Iterator[None]:
    """Turn errors of pyarrow, which has a dozen kinds, into one that names the file."""
    try:
        yield
    except Exception as error:
        kind = "a Parquet" if file.suffix.lower() == ".parquet" else "an Arrow"
        raise BrokenDataError(f"{file} is not {kind} table: {first_line(error)}") from None
