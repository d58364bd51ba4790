"""``sample``, ``reconstruct`` and ``interpolate``: images of what a method can draw."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from genlab import recipes
from genlab.cli.text import target_of
from genlab.contracts import ShowsVectors
from genlab.errors import CheckpointError, RecipeError, RunError, cannot_write, nearest, refusals
from genlab.files import rewriting, shown_path
from genlab.training.opened import open_run


def sample_options(parser: ArgumentParser) -> None:
    """A grid of new images."""
    _picture_options(parser)
    parser.add_argument("--label", metavar="CLASS", help="class of all images, name or number")
    parser.add_argument(
        "--temperature", type=float, default=1.0,
        help="factor of the noise's spread, or divisor of logits: below 1 nearer to the mode",
    )  # fmt: skip


def reconstruct_options(parser: ArgumentParser) -> None:
    """Test images and their reconstructions."""
    _picture_options(parser)


def interpolate_options(parser: ArgumentParser) -> None:
    """Paths between test images through the latent space."""
    _picture_options(parser)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument(
        "--path", choices=("linear", "spherical"), help="default: the method's own way"
    )


def _picture_options(parser: ArgumentParser) -> None:
    parser.add_argument("ckpt", metavar="RUN|CKPT")
    parser.add_argument(
        "--out", metavar="FILE.png|FILE.npy", help="image or numbers; default: pictures/ of the run"
    )
    parser.add_argument("-n", type=int, default=None, help="number of images or paths")
    parser.add_argument("--seed", type=int, default=0)


def _method(ckpt: str) -> tuple[Any, Path]:
    """The method of a run or checkpoint, without its data."""
    from genlab import checkpoints

    file = checkpoints.chosen(ckpt)
    try:
        return checkpoints.load(file), file
    except CheckpointError as error:
        raise RunError(str(error)) from None


def _write(images: Any, target: Path, columns: int | None, data: object) -> None:
    """Write a grid, or the numbers of its tiles: (N, C, H, W) float32, of vectors (N, D).

    In a grid vectors of data that are images, instance or class, have their shape.
    """
    from genlab.drawing import grid

    kind = target.suffix.lower()
    if kind not in (".png", ".jpg", ".webp", ".npy"):
        raise RecipeError(f"--out {target} must end in .png or .npy")
    if isinstance(data, ShowsVectors) and kind != ".npy":
        images = images.reshape(-1, *data.picture_shape)
    try:
        if kind == ".npy":
            _save_numbers(images, target)
        else:
            grid.save(images, target, columns)
    except OSError as error:
        raise cannot_write(target, error) from None
    print(shown_path(target))


def _save_numbers(images: Any, target: Path) -> None:
    """Write images or vectors as a NumPy file."""
    import numpy as np

    flat = images.flatten(1) if images.shape[2:] == (1, 1) else images
    target.parent.mkdir(parents=True, exist_ok=True)
    with rewriting(target) as opened:
        np.save(opened, flat.detach().float().cpu().numpy())


MOST = 100_000  # images of one picture


def _count(n: int | None, default: int) -> int:
    if n is not None and n < 1:
        raise RecipeError(f"-n {n} must be at least 1")
    if n is not None and n > MOST:
        raise RecipeError(f"-n {n} is more than one image holds: at most {MOST:,}")
    return n or default


def sample(
    ckpt: str, out: str | None, n: int | None, seed: int, label: str | None, temperature: float
) -> None:
    """A grid of new images; one row a class where the method knows classes."""
    count = _count(n, 100)
    method, file = _method(ckpt)
    from genlab.evaluation import image_grids

    with refusals():
        known = None if label is None else _number_of(label, file)
        images, columns = image_grids.samples(method, count, known, temperature, seed)
    data = _data_class(file) if images.shape[2:] == (1, 1) else None
    name = _name_of(label, temperature, seed)
    _write(images, target_of(out, file, name), columns, data)
    from genlab.metrics.network_evaluations import evaluations_in_words

    if told := evaluations_in_words(method):
        print(told)


def _name_of(label: str | None, temperature: float, seed: int) -> str:
    """File name of samples: ``sample.png``, with the settings that are not the default ones."""
    settings = {
        "label": None if label is None else re.sub(r"[^\w.-]+", "_", label),
        "temperature": None if temperature == 1 else f"{temperature:g}",
        "seed": seed or None,
    }
    words = [f"{key}-{value}" for key, value in settings.items() if value is not None]
    return "-".join(["sample", *words]) + ".png"


def _data_class(file: Path) -> object:
    """The class of the data that a checkpoint was trained on; None if it is not genlab's own."""
    from genlab import checkpoints

    stamp = checkpoints.read(file).get("genlab")
    data = stamp.get("recipe", {}).get("data") if isinstance(stamp, dict) else None
    path = data.get("class_path") if isinstance(data, dict) else None
    known = recipes.classes("data").values()
    return recipes.load_class(str(path), object) if path in known else None


def _number_of(label: str, file: Path) -> int:
    """The number of a class in a checkpoint, by its name or as a number."""
    from genlab import checkpoints

    stamp = checkpoints.read(file).get("genlab")
    names = stamp.get("classes") if isinstance(stamp, dict) else None
    known = [str(name) for name in names] if isinstance(names, list) else []
    if label in known:
        return known.index(label)
    if not label.removeprefix("-").isdecimal():
        raise RecipeError(f"--label {label} is not a class", hint=nearest(label, known))
    return int(label)


def _test_batch(ckpt: str, count: int) -> tuple[Any, Path, Any, Any, Any]:
    lab, file = open_run([ckpt], [])
    data: Any = lab.data
    batch = data.to_device(next(iter(data.test_dataloader())))
    return lab.model, file, data, batch["image"][:count], batch["label"][:count]


def reconstruct(ckpt: str, out: str | None, n: int | None, seed: int) -> None:
    """Test images, each with its reconstruction below."""
    method, file, data, image, label = _test_batch(ckpt, _count(n, 32))
    from genlab.evaluation import image_grids

    with refusals():
        rows = image_grids.reconstructions(method, image, label, seed)
    _write(rows, target_of(out, file, "reconstruct.png"), min(8, len(image)), data)


def interpolate(
    ckpt: str, out: str | None, n: int | None, seed: int, steps: int, path: str | None = None
) -> None:
    """Paths between pairs of test images, one a row; of a generator, between draws of noise."""
    paths = _count(n, 8)
    if not 2 <= steps <= MOST // paths:
        raise RecipeError(f"--steps {steps} must be 2 to {MOST // paths:,}")
    method, file, data, image, label = _test_batch(ckpt, 2 * paths)
    from genlab.evaluation import image_grids

    with refusals():
        spherical = None if path is None else path == "spherical"
        images = image_grids.interpolations(method, image, label, steps, spherical, seed)
    _write(images, target_of(out, file, "interpolate.png"), steps, data)
