"""``sample``, ``reconstruct`` and ``interpolate``: images of what a method can draw."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from genlab import recipes
from genlab.cli.text import target_of
from genlab.contracts import ShowsVectors
from genlab.errors import CheckpointError, RecipeError, RunError, cannot_write, nearest, refusals
from genlab.files import rewriting, shown_path, step_of
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


class Source:
    """A checkpoint, and the facts that it was stamped with."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @cached_property
    def stamp(self) -> dict[str, Any]:
        """Facts of the checkpoint's run; empty for another program's file."""
        from genlab import checkpoints

        stamp = checkpoints.read(self.file).get("genlab")
        return stamp if isinstance(stamp, dict) else {}

    @property
    def classes(self) -> list[str]:
        """Names of the classes of its data."""
        names = self.stamp.get("classes")
        return [str(name) for name in names] if isinstance(names, list) else []

    @property
    def data_class(self) -> object:
        """The class of the data that it was trained on; None if it is not genlab's own."""
        data = self.stamp.get("recipe", {}).get("data")
        path = data.get("class_path") if isinstance(data, dict) else None
        known = recipes.classes("data").values()
        return recipes.load_class(str(path), object) if path in known else None

    def title(self, told: str) -> str:
        """``vae/digits, step 2,100: samples``."""
        step = step_of(self.file)
        place = f", step {step:,}" if step >= 0 else ""
        return f"{self.stamp.get('name') or self.file.name}{place}: {told}"


def _method(ckpt: str) -> tuple[Any, Source]:
    """The method of a run or checkpoint, without its data."""
    from genlab import checkpoints

    file = checkpoints.chosen(ckpt)
    try:
        return checkpoints.load(file), Source(file)
    except CheckpointError as error:
        raise RunError(str(error)) from None


@dataclass(frozen=True)
class Sheet:
    """A grid with its text.

    Args:
        images: tiles, (N, C, H, W) float32; of vectors (N, D, 1, 1).
        columns: number of columns; None for a square.
        title: text above.
        rows: names of the rows.
        heads: texts above the columns.
    """

    images: Any
    columns: int | None
    title: str
    rows: Sequence[str] = ()
    heads: Sequence[str] = ()


def _write(sheet: Sheet, target: Path, data: object) -> None:
    """Write a grid with its text, or the numbers of its tiles alone.

    In a grid vectors of data that are images, instance or class, have their shape.
    """
    from genlab.drawing import grid
    from genlab.drawing.lettering import lettered
    from genlab.drawing.points import is_plane

    kind, images = target.suffix.lower(), sheet.images
    if kind not in (".png", ".jpg", ".webp", ".npy"):
        raise RecipeError(f"--out {target} must end in .png or .npy")
    if isinstance(data, ShowsVectors) and kind != ".npy":
        images = images.reshape(-1, *data.picture_shape)
    try:
        if kind == ".npy":
            _save_numbers(images, target)
        else:
            text = ([], []) if is_plane(images) else (sheet.rows, sheet.heads)
            grid.write(lettered(grid.grid(images, sheet.columns), sheet.title, *text), target)
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
    method, source = _method(ckpt)
    from genlab.contracts import number_of_classes
    from genlab.drawing.lettering import class_names
    from genlab.evaluation import image_grids
    from genlab.metrics.network_evaluations import evaluations_in_words, sampling_in_words

    with refusals():
        known = None if label is None else _number_of(label, source)
        images, columns = image_grids.samples(method, count, known, temperature, seed)
    named = class_names(source.classes, number_of_classes(method))
    told = ["samples", "" if known is None else f"class {named[known]}",
            "" if temperature == 1 else f"temperature {temperature:g}",
            f"seed {seed}" if seed else "", sampling_in_words(method)]  # fmt: skip
    of_classes = label is None and columns is not None
    rows = named if of_classes else []
    sheet = Sheet(images, columns, source.title(", ".join(one for one in told if one)), rows)
    data = source.data_class if images.shape[2:] == (1, 1) else None
    _write(sheet, target_of(out, source.file, _name_of(label, temperature, seed)), data)
    if said := evaluations_in_words(method):
        print(said)


def _name_of(label: str | None, temperature: float, seed: int) -> str:
    """File name of samples: ``sample.png``, with the settings that are not the default ones."""
    settings = {
        "label": None if label is None else re.sub(r"[^\w.-]+", "_", label),
        "temperature": None if temperature == 1 else f"{temperature:g}",
        "seed": seed or None,
    }
    words = [f"{key}-{value}" for key, value in settings.items() if value is not None]
    return "-".join(["sample", *words]) + ".png"


def _number_of(label: str, source: Source) -> int:
    """The number of a class in a checkpoint, by its name or as a number."""
    known = source.classes
    if label in known:
        return known.index(label)
    if not label.removeprefix("-").isdecimal():
        raise RecipeError(f"--label {label} is not a class", hint=nearest(label, known))
    return int(label)


def _test_images(ckpt: str, count: int) -> tuple[Any, Source, Any, Any, Any]:
    """The method, its checkpoint, its data, and images evenly spaced over the test split."""
    import torch

    lab, file = open_run([ckpt], [])
    data: Any = lab.data
    images, labels = list[Any](), list[Any]()
    for raw in data.bank_dataloader("test", most=count):
        batch = data.to_device(raw)
        images.append(batch["image"])
        labels.append(batch["label"])
        if sum(map(len, images)) >= count:
            break
    return lab.model, Source(file), data, torch.cat(images)[:count], torch.cat(labels)[:count]


def reconstruct(ckpt: str, out: str | None, n: int | None, seed: int) -> None:
    """Test images, each with its reconstruction below."""
    method, source, data, image, label = _test_images(ckpt, _count(n, 32))
    from genlab.evaluation import image_grids

    with refusals():
        rows = image_grids.reconstructions(method, image, label, seed)
    title = source.title("test images, each above its reconstruction")
    sheet = Sheet(rows, min(8, len(image)), title)
    _write(sheet, target_of(out, source.file, "reconstruct.png"), data)


def interpolate(
    ckpt: str, out: str | None, n: int | None, seed: int, steps: int, path: str | None = None
) -> None:
    """Paths between pairs of test images, one a row; of a generator, between draws of noise."""
    paths = _count(n, 8)
    if not 2 <= steps <= MOST // paths:
        raise RecipeError(f"--steps {steps} must be 2 to {MOST // paths:,}")
    method, source, data, image, label = _test_images(ckpt, 2 * paths)
    from genlab.contracts import Interpolates
    from genlab.evaluation import image_grids

    with refusals():
        spherical = None if path is None else path == "spherical"
        images = image_grids.interpolations(method, image, label, steps, spherical, seed)
    between = "test images" if isinstance(method, Interpolates) else "draws of noise"
    title = source.title(f"paths between {between}, left to right")
    sheet = Sheet(images, steps, title)
    _write(sheet, target_of(out, source.file, "interpolate.png"), data)
