"""Data sets of the Hugging Face hub: their Parquet files, downloaded once."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genlab.data.errors import MissingDataError
from genlab.data.files.cache import alone, kept_at
from genlab.errors import NetworkError, cannot_write, fault_of, first_line, nearest
from genlab.files import replacing, text_of

HUB = "hf-hub:"
CONVERTED = "refs/convert/parquet"  # the hub's own copy of data sets that have other files
WORD = r"\w[\w.-]*"  # never .. alone
ADDRESS = re.compile(rf"{HUB}({WORD}/{WORD})((?:/{WORD})*)(?:@([\w./-]+))?", re.ASCII)
SECONDS = 20.0  # without an answer
INSTEAD = "data.root=FOLDER reads a copy of its Parquet files"


@dataclass(frozen=True)
class Address:
    """A data set of the hub, see `folder_of`.

    Args:
        name: ``OWNER/NAME``.
        inside: folder in it, empty for all of it.
        revision: branch, tag or commit; empty for the present state.
    """

    name: str
    inside: str
    revision: str

    def __str__(self) -> str:
        at = f"@{self.revision}" if self.revision else ""
        return f"{HUB}{self.name}{self.inside and f'/{self.inside}'}{at}"

    def parquet(self, files: list[str]) -> list[str]:
        """Those among a data set's files that are read."""
        top = self.inside and f"{self.inside}/"
        return [f for f in files if f.startswith(top) and f.endswith(".parquet")]


def folder_of(address: str, download: bool = True) -> Path:
    """The folder of a data set's Parquet files in the hub's cache; nothing in it is run.

    They are downloaded by the first process that asks, and from then on are what they were: a
    later state of the data set is had by its revision. A data set without such files is read from
    the hub's own conversion.

    Args:
        address: ``hf-hub:OWNER/NAME``; ``hf-hub:OWNER/NAME/FOLDER`` for one of its folders, such as
            a configuration; ``@REVISION`` for a branch, tag or commit.
        download: False to read what was downloaded before, and nothing else.

    Raises:
        MissingDataError: no such data set, revision or files, or no huggingface_hub.
        NetworkError: no way to the hub.
        ValueError: a text of another form.
    """
    found = ADDRESS.fullmatch(address)
    if found is None:
        raise ValueError(f"data.root {address!r} must be {HUB}OWNER/NAME[/FOLDER][@REVISION]")
    asked = Address(found[1], found[2].strip("/"), found[3] or "")
    kept = kept_at("hub", str(asked), ".json")
    with alone(kept):
        folder = _downloaded(kept)
        if folder is None and not download:
            raise MissingDataError(f"{asked} is not on this machine: set data.download=true")
        if folder is None:
            folder, files = _download(asked)
            _keep(kept, {"address": str(asked), "folder": str(folder), "files": files})
    return folder / asked.inside


def _downloaded(kept: Path) -> Path | None:
    """The folder of a download that is still whole."""
    try:
        content = json.loads(text_of(kept))
        folder = Path(content["folder"])
        whole = all((folder / file).stat().st_size == size
                    for file, size in content["files"].items())  # fmt: skip
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return folder if whole else None


def _keep(kept: Path, content: dict[str, Any]) -> None:
    try:
        with replacing(kept) as draft:
            draft.write_text(json.dumps(content))
    except OSError as error:
        raise cannot_write(kept, error, "XDG_CACHE_HOME names another cache") from None


def _download(asked: Address) -> tuple[Path, dict[str, int]]:
    """Folder and sizes of the files."""
    with _said(asked):
        from huggingface_hub import snapshot_download

        commit, files = _files(asked)
        print(f"{asked}: {len(files)} Parquet files are downloaded once", file=sys.stderr)
        top = asked.inside and f"{asked.inside}/"
        folder = Path(snapshot_download(
            asked.name, repo_type="dataset", revision=commit, allow_patterns=f"{top}*.parquet"
        ))  # fmt: skip
        # without an answer the hub's client gives what it has, which may be a part
        if missing := [file for file in files if not (folder / file).exists()]:
            raise ConnectionError(f"{len(missing)} of {len(files)} files have not come")
        return folder, {file: (folder / file).stat().st_size for file in files}


def _files(asked: Address) -> tuple[str, list[str]]:
    """The commit, and the Parquet files in it."""
    from huggingface_hub import dataset_info

    seen = list[str]()
    for revision in [asked.revision] if asked.revision else ["", CONVERTED]:
        info = dataset_info(asked.name, revision=revision or None, timeout=SECONDS)
        names = [one.rfilename for one in info.siblings or ()]
        if found := asked.parquet(names):
            return str(info.sha), sorted(found)
        seen += {str(Path(name).parent) for name in Address("", "", "").parquet(names)}
    hint = f"; {nearest(asked.inside, seen)}" if asked.inside and seen else ""
    raise MissingDataError(f"{asked} has no Parquet files{hint}; {INSTEAD}")


@contextmanager
def _said(asked: Address) -> Iterator[None]:
    """Errors of the hub in one line."""
    try:
        from huggingface_hub import errors
    except ImportError:
        raise MissingDataError(
            f"{asked} requires huggingface_hub: pip install huggingface_hub"
        ) from None
    try:
        yield
    except MissingDataError:
        raise
    except errors.GatedRepoError:
        raise MissingDataError(
            f"{asked} is gated: accept its terms on the hub, and set HF_TOKEN"
        ) from None
    except errors.RepositoryNotFoundError:
        raise MissingDataError(
            f"{asked}: the hub has no such data set, or HF_TOKEN is required; {INSTEAD}"
        ) from None
    except errors.RevisionNotFoundError:
        raise MissingDataError(
            f"{asked}: no such revision, or no Parquet files in the present one; {INSTEAD}"
        ) from None
    except errors.HFValidationError as error:
        raise MissingDataError(f"{asked}: {first_line(error)}") from None
    except Exception as error:  # every version has its own kinds of a broken connection
        if fault_of(error) is not None:
            raise
        raise NetworkError(
            f"{asked} cannot be downloaded: {first_line(error)}; the same command goes on where "
            f"there is a network, and {INSTEAD}"
        ) from None
