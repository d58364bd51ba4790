"""``embed`` and ``predict``: features or outputs of every image of a split, as npz."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path

from genlab import runs
from genlab.cli.arguments import split_words
from genlab.errors import RecipeError, cannot_write, refusals
from genlab.files import rewriting
from genlab.training.opened import open_run


def embed_options(parser: ArgumentParser) -> None:
    """Features of every image of a split, as npz."""
    parser.add_argument("words", nargs="+", metavar="RUN|CKPT|key=value")
    parser.add_argument("--out", default=None, metavar="FILE.npz")
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))


def predict_options(parser: ArgumentParser) -> None:
    """Class probabilities of every image of a split, as npz."""
    embed_options(parser)


def _arrays(words: list[str], out: str | None, split: str, name: str) -> None:
    import numpy as np

    from genlab.evaluation import embed as embed_split

    if out is not None and (Path(out).suffix != ".npz" or os.path.isdir(out)):
        raise RecipeError(f"--out {out} must be a file that ends in .npz")
    lab, file = open_run(*split_words(words))
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


def embed(words: list[str], out: str | None, split: str) -> None:
    """Features of every image of a split."""
    _arrays(words, out, split, "features")


def predict(words: list[str], out: str | None, split: str) -> None:
    """Class probabilities of every image of a split."""
    _arrays(words, out, split, "predictions")
