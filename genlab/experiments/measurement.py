"""One run evaluated: every metric that suits its method, on the test set."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genlab import runs
from genlab.contracts import HasEpisodes, Samples
from genlab.drawing.may_fail import may_fail
from genlab.errors import CheckpointError, RecipeError, RunError, refusals
from genlab.training import evaluations, other_data
from genlab.training.opened import figures_of, open_run
from genlab.training.record import finite
from genlab.training.session import Settings, as_words

if TYPE_CHECKING:
    from genlab.training.building import Lab


@dataclass
class Evaluation:
    """Results of an evaluation.

    Args:
        lab: the run opened.
        file: checkpoint that was evaluated.
        metrics: metrics by their log keys.
        pictures: files that were drawn.
        kept: file in the run's ``evaluations/`` that holds the metrics; None outside a run.
    """

    lab: Lab
    file: Path
    metrics: dict[str, Any] = field(default_factory=dict)
    pictures: list[Path] = field(default_factory=list)
    kept: Path | None = None

    def whole(self) -> dict[str, Any]:
        """The metrics, those of each class where there are, and the networks it was made from."""
        from genlab.metrics.class_report import class_report_of

        report = class_report_of(self.lab.model)
        found = self.metrics | ({"parents": self.lab.parents} if self.lab.parents else {})
        if report is None:
            return found
        names = [str(name) for name in getattr(self.lab.data, "classes", ())]
        columns = ({"class": names} if names else {}) | report.per_class()
        return found | {"test/per_class": columns}


def evaluate(
    run: str | os.PathLike[str], settings: Settings = None, **options: Any
) -> dict[str, Any]:
    """Metrics of a run or checkpoint on its test set, and of the features.

    Args:
        run: a run directory, a checkpoint, or a recipe's name for its newest run.
        settings: values over the run's recipe, such as ``{"data.limit": 100}``.
        options: arguments of `examine`: ``judge``, ``samples``, ``reference``, ``k`` ...

    Logs:
        parents (table): networks that the method was made from, with their files and checksums.

    Raises:
        InputError: no such run, or an option that does not suit the method.
    """
    from genlab.training.isolation import restored

    with restored():
        return examine([os.fspath(run)], as_words(settings), **options).whole()


def examine(
    files: list[str],
    overrides: list[str],
    judge: str | None = None,
    samples: int = 10_000,
    reference: Literal["test", "train"] = "test",
    k: int = 20,
    temperature: float = 0.07,
    shots: Sequence[int] | None = None,
    tsne: bool = False,
    judge_of_other_data: bool = False,
    stage: int | None = None,
    measure: Sequence[str] = (),
) -> Evaluation:
    """Every metric that suits a method; with ``judge`` also of its samples.

    Args:
        files: one run or checkpoint.
        overrides: ``key=value`` settings.
        judge: run, ``inception``, ``dinov2``, encoder, or recipe file with ``model.head=file``, in
            whose features samples are measured.
        samples: number of samples for ``judge``.
        reference: split of real images that samples are compared with.
        k: neighbours of the kNN.
        temperature: temperature of the kNN.
        shots: labels per class of few-shot probes.
        tsne: True for a t-SNE plot of the features instead of a PCA.
        judge_of_other_data: True to let ``judge`` be a run of other data than the samples'.
        stage: stage of the encoder whose features are measured, from 0, the stem; None for the
            method's own features.
        measure: further measurements, see `evaluation.measurements`.

    Raises:
        InputError: no such run, or an option that does not suit the method.
    """
    from genlab.checkpoints import check_finite, in_words
    from genlab.evaluation import measurements

    measurements.check(measure)
    if samples < 10:
        raise RecipeError(f"--samples {samples} must be at least 10")
    lab, file = open_run(files, overrides)
    try:
        check_finite(lab.model, file)
    except CheckpointError as error:
        raise RunError(str(error)) from None
    device = lab.trainer.strategy.root_device
    if judge and not isinstance(lab.model, Samples):
        raise RecipeError(f"{type(lab.model).__name__} does not sample; --judge requires samples")
    found = Evaluation(lab, file)
    with refusals():
        by = _open_judge(judge, device) if judge else None
        if by is not None and not judge_of_other_data:
            by.refuse_other_data(lab.config["data"])
    if by is not None:
        print(f"judge: {in_words(by.identity)}", file=sys.stderr)
    found.metrics |= figures_of(lab, "test")
    lab.model.to(device)
    with refusals():
        shown = list(shots) if shots is not None else None
        metrics, test, train = _features(lab, k, temperature, shown, stage)
        found.metrics |= {key: finite(value) for key, value in metrics.items()}
        _draw(found, test, train, tsne)
        if by is not None:
            _judge(found, by, samples, reference)
        for name in measure:
            _measure(found, name, by)
    asked: dict[str, Any] = {"-k": k, "--temperature": temperature}
    if shots is not None:
        asked["--shots"] = ",".join(map(str, shots))
    if stage is not None:
        asked["--stage"] = stage
    if measure:
        asked["--measure"] = ",".join(measure)
    if by is not None:
        asked |= {"--judge": judge, "--samples": samples, "--reference": reference}
    words = [
        "evaluate",
        *files,
        *overrides,
        *(str(word) for pair in asked.items() for word in pair),
    ]
    facts = {"name": by.name, "source": by.source} | by.identity if by is not None else None
    found.kept = evaluations.keep(lab, file, words, found.metrics, facts)
    return found


def _features(
    lab: Lab, k: int, temperature: float, shots: list[int] | None, stage: int | None
) -> tuple[dict[str, Any], Any, Any]:
    """Metrics of the features, the test's and the training images': by trials where there are."""
    if isinstance(lab.data, HasEpisodes):
        from genlab.evaluation.one_shot import one_shot

        return one_shot(lab.model, lab.data, stage)
    from genlab.evaluation.feature_quality import representation

    return representation(lab.model, lab.data, k, temperature, shots, stage=stage)


def _open_judge(word: str, device: Any) -> Any:
    """The feature extractor that a name means, or that a recipe file takes from a weights file."""
    from genlab.checkpoints import identify
    from genlab.evaluation.judges import of_method, open_judge
    from genlab.training import file_head

    recipe = file_head.recipe_of(word, [])
    if recipe is None:
        return open_judge(word, device)
    recipe.config["seed_everything"] = False
    lab, file = file_head.open_file(recipe)
    found = of_method(lab.model.eval().to(device), word)
    found.identity = identify(file) if file.exists() else {"file": str(file)}
    found.names = [str(name) for name in getattr(lab.data, "classes", ())]
    return found


def _draw(found: Evaluation, test: Any, train: Any, tsne: bool) -> None:
    """Draw test features in two dimensions, and the training images nearest to some."""
    from genlab.drawing.grid import write
    from genlab.evaluation import retrieval
    from genlab.evaluation.scatter_plot import scatter

    data, name = found.lab.data, found.lab.recipe.name
    names = list(getattr(data, "classes", ()))
    other = other_data.name(found.lab)
    end = f"-{re.sub(r'[^A-Za-z0-9_.-]', '_', other)}.png" if other else ".png"
    of, on = (f" of {other}", f"{other}, ") if other else ("", "")
    with may_fail(str(target := runs.picture(found.file, f"embedding{end}"))):
        title = f"{name}: test features{of}"
        found.pictures.append(scatter(test, target, title, tsne, names=names))
    if train is None:
        return
    with may_fail(str(target := runs.picture(found.file, f"retrieval_test{end}"))):
        known = "references" if isinstance(data, HasEpisodes) else "training images"
        title = f"{name}: {on}test images; nearest {known} by features (cosine)"
        drawn = retrieval.picture(retrieval.search(train, test), data, "test", title)
        if drawn is not None:
            found.pictures.append(write(drawn, target))


def _measure(found: Evaluation, name: str, by: Any) -> None:
    """Add the metrics of a further measurement, and its images with a title."""
    from genlab.drawing.columns import titled
    from genlab.drawing.grid import write
    from genlab.evaluation.measurements import measure

    measured = measure(name, found.lab.model, found.lab.data, by)
    found.metrics |= {f"test/{noun}": finite(value) for noun, value in measured.figures.items()}
    if not measured.shown:
        return
    with may_fail(str(target := runs.picture(found.file, f"measured_{name}.png"))):
        title = f"{found.lab.recipe.name}: {name.replace('_', ' ')}"
        found.pictures.append(write(titled(measured.shown, title), target))


def _judge(found: Evaluation, by: Any, samples: int, reference: str) -> None:
    """Add metrics of the samples, and the images of their neighbours and their spectra."""
    from genlab.drawing import spectra
    from genlab.drawing.grid import write
    from genlab.evaluation import neighbours
    from genlab.evaluation.judging import judge

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        metrics, nearest, power = judge(found.lab.model, by, found.lab.data, samples, reference)
    for message in dict.fromkeys(str(one.message) for one in caught):
        print(f"warning: {message}", file=sys.stderr)
    found.metrics |= {key: finite(value) for key, value in metrics.items()}
    with may_fail(str(target := runs.picture(found.file, "neighbours.png"))):
        title = f"{found.lab.recipe.name}: copies of training images, by features of {by.name}"
        found.pictures.append(write(neighbours.picture(nearest, title), target))
    with may_fail(str(target := runs.picture(found.file, "spectrum.png"))):
        if len(power["samples"]) > 1:
            found.pictures.append(spectra.draw(power, target, f"{found.lab.recipe.name}: spectrum"))
