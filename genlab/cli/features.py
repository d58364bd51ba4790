"""``embed`` and ``predict``: features or outputs of every image of a split or a folder."""

from __future__ import annotations

import csv
import os
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import runs
from genlab.cli.arguments import split_words
from genlab.contracts import HasFileNames
from genlab.errors import RecipeError, cannot_write, refusals
from genlab.files import replacing, rewriting
from genlab.training.opened import open_run

if TYPE_CHECKING:
    from genlab.evaluation.embedding import Arrays

SPLITS = ("train", "val", "test", "all")
ROOTS = ("data.root=", "data.table=", "data=")


def embed_options(parser: ArgumentParser) -> None:
    """Features of every image of a split, as npz."""
    parser.add_argument("words", nargs="+", metavar="RUN|CKPT|key=value")
    parser.add_argument("--out", default=None, metavar="FILE.npz")
    parser.add_argument("--split", default=None, choices=SPLITS)


def predict_options(parser: ArgumentParser) -> None:
    """Class probabilities of every image of a split, or of a folder, as npz and CSV."""
    embed_options(parser)


def _arrays(words: list[str], out: str | None, split: str | None, name: str) -> tuple[Path, Arrays]:
    import numpy as np

    from genlab.evaluation import embed as embed_split

    if out is not None and (Path(out).suffix != ".npz" or os.path.isdir(out)):
        raise RecipeError(f"--out {out} must be a file that ends in .npz")
    files, settings = split_words(words)
    lab, file = open_run(files, settings, unknown=name == "predictions")
    split = split or ("all" if _of_a_folder(lab.data, settings) else "test")
    with refusals():
        arrays = embed_split(lab.model, lab.data, split, predict=name == "predictions")
    run = file.parent.parent
    target = Path(out) if out else (run if runs.is_run(run) else file.parent) / f"{name}.npz"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with rewriting(target) as opened:
            np.savez_compressed(opened, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise cannot_write(target, error) from None
    shapes = ", ".join(f"{k} {v.shape}" for k, v in arrays.items())
    print(f"{target}: {shapes} from {file}")
    return target, arrays


def _of_a_folder(data: Any, settings: list[str]) -> bool:
    """True where the command line names files to be measured, rather than a data set's split."""
    return isinstance(data, HasFileNames) and any(w.startswith(ROOTS) for w in settings)


def embed(words: list[str], out: str | None, split: str | None) -> None:
    """Features of every image of a split."""
    _arrays(words, out, split, "features")


def predict(words: list[str], out: str | None, split: str | None) -> None:
    """Class probabilities of every image of a split; of files a table too, with their names."""
    target, arrays = _arrays(words, out, split, "predictions")
    if "path" not in arrays:
        return
    table = target.with_suffix(".csv")
    try:
        with (
            replacing(table) as draft,
            draft.open("w", newline="", encoding="utf-8", errors="backslashreplace") as opened,
        ):
            csv.writer(opened).writerows(_rows(arrays))
    except OSError as error:
        raise cannot_write(table, error) from None
    print(f"{table}: {len(arrays['path'])} files")


def _rows(arrays: Arrays) -> Iterator[tuple[object, ...]]:
    """A header, and for each file its class as far as it is known, the predicted one, how sure."""
    count = arrays["probabilities"].shape[1]
    names = [str(name) for name in arrays.get("classes", range(count))]
    yield "file", "label", "predicted", "probability"
    columns = (arrays[key] for key in ("path", "label", "prediction", "probabilities"))
    for file, label, predicted, probabilities in zip(*columns, strict=True):
        known = names[label] if 0 <= label < count else ""
        yield file, known, names[predicted], f"{probabilities[predicted]:.6g}"
