"""``evaluate``: every metric that suits a method, on the test set."""

from __future__ import annotations

import math
from argparse import ArgumentParser
from typing import Literal

from genlab.cli.arguments import split_words
from genlab.cli.text import report
from genlab.contracts import Samples
from genlab.errors import RecipeError
from genlab.files import shown_path


def evaluate_options(parser: ArgumentParser) -> None:
    """Every metric that suits the method, on the test set."""
    parser.add_argument("words", nargs="+", metavar="RUN|CKPT|key=value")
    parser.add_argument(
        "--ensemble", action="store_true",
        help="several runs of classifiers as one: the mean of their probabilities",
    )  # fmt: skip
    parser.add_argument(
        "--judge",
        metavar="RUN|inception|dinov2|ENCODER|FILE.yaml",
        help="network whose features judge samples: FID, KID, precision, nearest images ...",
    )
    parser.add_argument(
        "--judge-of-other-data", action="store_true",
        help="let the judge be a run that was trained on other data than the samples",
    )  # fmt: skip
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
    parser.add_argument(
        "--stage", type=int, metavar="N", help="features of an encoder's stage, from 0, the stem"
    )
    parser.add_argument(
        "--measure", metavar="NAME,NAME",
        help="further measurements: adversarial, bands, hessian, norms ...",
    )  # fmt: skip
    parser.add_argument("--tsne", action="store_true", help="t-SNE image instead of PCA")
    parser.add_argument("--json", action="store_true", help="print JSON only")


def evaluate(
    words: list[str],
    judge: str | None,
    samples: int,
    json: bool,
    reference: Literal["test", "train"] = "test",
    k: int = 20,
    temperature: float = 0.07,
    shots: str | None = None,
    tsne: bool = False,
    judge_of_other_data: bool = False,
    stage: int | None = None,
    ensemble: bool = False,
    measure: str | None = None,
) -> int:
    """All test metrics of a method and of its features; with --judge also of its samples."""
    from genlab.evaluation.one_shot import in_words
    from genlab.experiments.measurement import examine

    if ensemble:
        return _ensemble(words, json)
    shown = _shots(shots)
    for option, value in (
        ("-k", k),
        ("--samples", samples),
        *(("--shots", n) for n in shown or ()),
    ):
        if value < 1:
            raise RecipeError(f"{option} {value} must be at least 1")
    if not 0 < temperature < math.inf:
        raise RecipeError(f"--temperature {temperature} must be above 0 and finite")
    found = examine(
        *split_words(words), judge, samples, reference, k, temperature, shown, tsne,
        judge_of_other_data, stage, measure.split(",") if measure else (),
    )  # fmt: skip
    code = report(found.file, found.whole() if json else found.metrics, json)
    if json:
        return code
    for picture in found.pictures:
        print(f"image {shown_path(picture)}")
    lab = found.lab
    if told := in_words(found.metrics):
        print(told)
    if not judge and isinstance(lab.model, Samples) and getattr(lab.data, "image_size", 1) > 1:
        print("samples are judged with --judge RUN, --judge inception or an encoder's name")
    return code


def _ensemble(words: list[str], as_json: bool) -> int:
    """Metrics of several classifiers as one."""
    from genlab.experiments.ensemble import ensemble

    return report(*ensemble(*split_words(words)), as_json)


def _shots(words: str | None) -> list[int] | None:
    """``1,5,10`` -> [1, 5, 10]."""
    try:
        return None if words is None else [int(word) for word in words.split(",")]
    except ValueError:
        raise RecipeError(f"--shots {words} must be numbers like 1,5,10") from None
