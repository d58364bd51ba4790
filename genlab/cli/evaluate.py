"""``evaluate``: every metric that suits a method, on the test set."""

from __future__ import annotations

import os
import sys
import warnings
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from genlab.cli.arguments import split_words
from genlab.cli.text import refusals, report, target_of
from genlab.errors import RecipeError, RunError
from genlab.training.opened import figures_of, open_run
from genlab.training.record import finite


def evaluate_options(parser: ArgumentParser) -> None:
    """Every metric that suits the method, on the test set."""
    parser.add_argument("words", nargs="+", metavar="RUN|CKPT|key=value")
    parser.add_argument(
        "--judge",
        metavar="RUN|inception|ENCODER",
        help="network whose features judge samples: FID, KID, precision, nearest images ...",
    )
    parser.add_argument("--samples", type=int, default=10_000, help="samples for the judge")
    parser.add_argument(
        "--reference",
        default="test",
        choices=("test", "train"),
        help="split of real images that samples are compared with; published FIDs: train",
    )
    parser.add_argument("-k", type=int, default=20, help="neighbours of the kNN")
    parser.add_argument("--temperature", type=float, default=0.07, help="kNN's temperature")
    parser.add_argument("--shots", metavar="1,5,10", help="labels per class of few-shot probes")
    parser.add_argument("--tsne", action="store_true", help="t-SNE image instead of PCA")
    parser.add_argument("--json", action="store_true", help="print JSON only")


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
    """All test metrics of a method and of its features; with --judge also of its samples."""
    from genlab import evaluate as evaluation
    from genlab.metrics.class_report import class_report_of

    shown = _shots(shots)
    if samples < 10:
        raise RecipeError(f"--samples {samples} must be at least 10")
    lab, file = open_run(*split_words(words))
    device = lab.trainer.strategy.root_device
    if judge and not hasattr(lab.model, "sample"):
        raise RecipeError(f"{type(lab.model).__name__} does not sample; --judge requires samples")
    with refusals():
        by = evaluation.open_judge(judge, device) if judge else None
    figures = figures_of(lab, "test")
    method = lab.model.to(device)
    with refusals():
        found, features = evaluation.representation(method, lab.data, k, temperature, shown)
        figures |= {key: finite(value) for key, value in found.items()}
        target, title = target_of(None, file, "embedding.png"), f"{lab.recipe.name}: test features"
        try:
            drawn = evaluation.scatter(
                features, target, title, tsne, names=list(getattr(lab.data, "classes", ()))
            )
        except OSError as error:
            raise RunError(f"cannot write {target}: {error.strerror}") from None
        pictures = [drawn]
        if by is not None:
            figures |= _judged(method, by, lab.data, samples, reference, file, pictures)
    if json and (classes := class_report_of(method)) is not None:
        figures["test/per_class"] = classes.per_class()
    report(file, figures, json)
    if not json:
        for picture in pictures:
            print(f"image {os.path.relpath(picture)}")
        if by is None and hasattr(method, "sample") and getattr(lab.data, "image_size", 1) > 1:
            print("samples are judged with --judge RUN, --judge inception or an encoder's name")


def _judged(
    method: Any, by: Any, data: Any, samples: int, reference: str, file: Path, pictures: list[Path]
) -> dict[str, Any]:
    """Metrics of the samples; the image of their neighbours is added to ``pictures``."""
    from genlab import evaluate as evaluation
    from genlab.drawing.grid import save
    from genlab.evaluate.neighbours import COLUMNS

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        found, images = evaluation.judge(method, by, data, samples, reference)
    for message in dict.fromkeys(str(one.message) for one in caught):
        print(f"warning: {message}", file=sys.stderr)
    target = target_of(None, file, "neighbours.png")
    pictures.append(save(images, target, COLUMNS))
    return {key: finite(value) for key, value in found.items()}


def _shots(words: str | None) -> list[int] | None:
    """``1,5,10`` -> [1, 5, 10]."""
    try:
        return None if words is None else [int(word) for word in words.split(",")]
    except ValueError:
        raise RecipeError(f"--shots {words} must be numbers like 1,5,10") from None
