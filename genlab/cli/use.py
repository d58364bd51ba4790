"""``sample``, ``reconstruct``, ``interpolate``, ``evaluate``, ``embed``, ``predict``."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genlab import runs
from genlab.cli.measure import figures_of, open_run, report
from genlab.cli.record import finite
from genlab.recipes import RecipeError


@contextmanager
def _refusals() -> Iterator[None]:
    """What a method refuses to do is an input error."""
    try:
        yield
    except ValueError as error:
        raise RecipeError(str(error)) from None


def _method(ckpt: str) -> tuple[Any, Path]:
    """The method of a run or checkpoint, without its data."""
    from genlab import checkpoints

    file = runs.checkpoint(ckpt)
    try:
        return checkpoints.load(file), file
    except checkpoints.CheckpointError as error:
        raise runs.RunError(str(error)) from None


def _target(out: str | None, file: Path, name: str) -> Path:
    """Where a result goes: as asked, else into the run's pictures, else beside the checkpoint."""
    if out is not None:
        return Path(out)
    run = file.parent.parent
    folder = run / "pictures" if runs.is_run(run) else file.parent
    return folder / name


def _write(images: Any, target: Path, columns: int | None) -> None:
    from genlab.callbacks import pictures

    if target.suffix.lower() not in (".png", ".jpg", ".webp"):
        raise RecipeError(f"--out {target} must end in .png")
    try:
        pictures.save(images, target, columns)
    except OSError as error:
        raise runs.RunError(f"cannot write {target}: {error.strerror}") from None
    print(os.path.relpath(target) if target.is_absolute() else target)


def _count(n: int | None, default: int) -> int:
    if n is not None and n < 1:
        raise RecipeError(f"-n {n} must be at least 1")
    return n or default


def sample(
    ckpt: str, out: str | None, n: int | None, seed: int, label: int | None, temperature: float
) -> None:
    """A grid of new images; one row a class where the method knows classes."""
    count = _count(n, 100)
    method, file = _method(ckpt)
    from genlab import evaluate

    with _refusals():
        images, columns = evaluate.samples(method, count, label, temperature, seed)
    _write(images, _target(out, file, "sample.png"), columns)


def _test_batch(ckpt: str, count: int) -> tuple[Any, Path, Any, Any]:
    lab, file = open_run([ckpt])
    data: Any = lab.data
    batch = data.to_device(next(iter(data.test_dataloader())))
    return lab.model, file, batch["image"][:count], batch["label"][:count]


def reconstruct(ckpt: str, out: str | None, n: int | None, seed: int) -> None:
    """Test images, each with its reconstruction below."""
    method, file, image, label = _test_batch(ckpt, _count(n, 32))
    from genlab import evaluate

    with _refusals():
        rows = evaluate.reconstructions(method, image, label, seed)
    _write(rows, _target(out, file, "reconstruct.png"), min(8, len(image)))


def interpolate(
    ckpt: str, out: str | None, n: int | None, seed: int, steps: int, path: str | None = None
) -> None:
    """Paths between pairs of test images, one a row; of a generator, between draws of noise."""
    paths = _count(n, 8)
    method, file, image, label = _test_batch(ckpt, 2 * paths)
    from genlab import evaluate

    with _refusals():
        spherical = None if path is None else path == "spherical"
        images = evaluate.interpolations(method, image, label, steps, spherical, seed)
    _write(images, _target(out, file, "interpolate.png"), steps)


def evaluate(
    words: list[str],
    judge: str | None,
    samples: int,
    json: bool,
    reference: str = "test",
    k: int = 20,
    temperature: float = 0.07,
    shots: str | None = None,
    tsne: bool = False,
) -> None:
    """All test figures of a method and of its features; with a judge, of its samples too."""
    from genlab import evaluate as evaluation

    shown = _shots(shots)
    if samples < 10:
        raise RecipeError(f"--samples {samples} must be at least 10")
    lab, file = open_run(words)
    device = lab.trainer.strategy.root_device
    if judge and not hasattr(lab.model, "sample"):
        raise RecipeError(f"{type(lab.model).__name__} draws no samples that --judge could judge")
    with _refusals():
        by = evaluation.open_judge(judge, device) if judge else None
    figures = figures_of(lab, "test")
    method = lab.model.to(device)
    with _refusals():
        found, features = evaluation.representation(method, lab.data, k, temperature, shown)
        figures |= {key: finite(value) for key, value in found.items()}
        target, title = _target(None, file, "embedding.png"), f"{lab.recipe.name}: test features"
        try:
            drawn = evaluation.scatter(
                features, target, title, tsne, names=list(getattr(lab.data, "classes", ()))
            )
        except OSError as error:
            raise runs.RunError(f"cannot write {target}: {error.strerror}") from None
        pictures = [drawn]
        if by is not None:
            figures |= _judged(method, by, lab.data, samples, reference, file, pictures)
    per_class: Any = getattr(method, "report", None)
    if json and per_class is not None:
        figures["test/per_class"] = per_class()
    report(file, figures, json)
    if not json:
        for picture in pictures:
            print(f"picture {os.path.relpath(picture)}")
        if by is None and hasattr(method, "sample") and getattr(lab.data, "image_size", 1) > 1:
            print("samples are judged with --judge RUN, --judge inception or an encoder's name")


def _judged(
    method: Any, by: Any, data: Any, samples: int, reference: str, file: Path, pictures: list[Path]
) -> dict[str, Any]:
    """Figures of the samples; the picture of their neighbours is added to ``pictures``."""
    from genlab import evaluate as evaluation
    from genlab.callbacks.pictures import save
    from genlab.evaluate.neighbours import COLUMNS

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        found, images = evaluation.judge(method, by, data, samples, reference)
    for message in dict.fromkeys(str(one.message) for one in caught):
        print(f"warning: {message}", file=sys.stderr)
    target = _target(None, file, "neighbours.png")
    pictures.append(save(images, target, COLUMNS))
    return {key: finite(value) for key, value in found.items()}


def _shots(words: str | None) -> list[int] | None:
    """``1,5,10`` -> [1, 5, 10]."""
    try:
        return None if words is None else [int(word) for word in words.split(",")]
    except ValueError:
        raise RecipeError(f"--shots {words} must be numbers like 1,5,10") from None


def _arrays(words: list[str], out: str | None, split: str, name: str) -> None:
    import numpy as np

    from genlab.evaluate import embed as embed_split

    if out is not None and (Path(out).suffix != ".npz" or Path(out).is_dir()):
        raise RecipeError(f"--out {out} must be a file that ends in .npz")
    lab, file = open_run(words)
    with _refusals():
        arrays = embed_split(lab.model, lab.data, split, predict=name == "predictions")
    run = file.parent.parent
    target = Path(out) if out else (run if runs.is_run(run) else file.parent) / f"{name}.npz"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(target, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise runs.RunError(f"cannot write {target}: {error.strerror}") from None
    shapes = ", ".join(f"{k} {v.shape}" for k, v in arrays.items())
    print(f"{target}: {shapes} from {file}")


def embed(words: list[str], out: str | None, split: str) -> None:
    """Features of every image of a split."""
    _arrays(words, out, split, "features")


def predict(words: list[str], out: str | None, split: str) -> None:
    """Class probabilities of every image of a split."""
    _arrays(words, out, split, "predictions")
