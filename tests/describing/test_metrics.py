"""Every metric and file that a training or an evaluation writes is explained."""

from __future__ import annotations

import ast
import csv
import json
from collections.abc import Iterator

import pytest

import genlab
from genlab import methods, recipes, run_files
from genlab.describing import docstrings, metrics, source
from genlab.methods._flow import FlowMethod
from tests.conftest import Here

STEPS = {"training_step": "train", "validation_step": "val", "test_step": "test"}
PRIORS = ("vq_prior", "masked_prior")
LATER = ("finetune", "linear", "knn", *PRIORS)  # they take another run's weights
SMALL = {
    "track.wandb": "off",
    "trainer.max_steps": -1,
    "trainer.max_epochs": 1,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.log_every_n_steps": 1,
    "data.val_size": 50,
}


def returned() -> Iterator[tuple[str, str, str]]:
    """Method, split and name of each scalar that a step returns by name."""
    for definition in _methods():
        for function in ast.walk(definition.node):
            split = STEPS.get(getattr(function, "name", ""))
            for node in ast.walk(function) if split else ():
                if isinstance(node, ast.Dict):
                    for key in node.keys:
                        if isinstance(key, ast.Constant):
                            yield definition.name, str(split), str(key.value)


def _methods() -> list[source.Definition]:
    modules = source.modules().items()
    inside = [(m, f) for m, f in modules if m.startswith("genlab.methods.")]
    return [d for m, f in inside for d in source.definitions(m, f)]


def test_what_steps_return_is_defined() -> None:
    tensors = {"feature", "embedding", "gradient_norms"}  # with dimensions, for callbacks
    found = {one for one in returned() if one[2] not in tensors}
    assert len(found) > 40
    assert not [one for one in found if not metrics.definitions(f"{one[1]}/{one[2]}")]
    losses = {one.owner.name for one in metrics.definitions("train/loss")}
    families = {path.rpartition(".")[2] for path in recipes.classes("methods").values()}
    flows = {name for name in families if issubclass(getattr(methods, name), FlowMethod)}
    assert losses == families - flows | {"FlowMethod"}


def test_every_line_of_a_section_is_read() -> None:
    for module, file in source.modules().items():
        logs = "    Logs:\n" in file.read_text()
        for one in source.definitions(module, file) if logs else ():
            section = docstrings.parse(one.docstring).sections.get("Logs", "")
            heads = [line for line in section.splitlines() if not line.startswith(" ")]
            texts = {entry.text for entry in docstrings.entries(section).values()}
            assert len(heads) == len(texts), one.path


def test_every_definition_is_whole() -> None:
    for one in metrics.every():
        assert one.unit, one.key
        assert one.text.endswith("."), one.key
        assert one.better in ("", "higher", "lower"), one.key
        assert one.key.partition("/")[0] in metrics.SPLITS or "/" not in one.key, one.key
        assert one.means(one.key)


@pytest.mark.parametrize(
    ("key", "owner", "unit", "better"),
    [
        ("val/effective_rank", "CollapseAlarm", "directions", "higher"),
        ("train/mask_rate", "FixMatch", "fraction", ""),
        ("test/accuracy", "classification_metrics", "fraction", "higher"),
        ("judge/fid_lenet", "of_features", "squared distance", "lower"),
        ("judge/fid_lenet_floor", "of_features", "that of the metric", "lower"),
        ("judge/inception_score_lenet_real", "of_features", "classes", "higher"),
        ("judge/nearest_lenet_test", "nearest_training", "distance", ""),
        ("test/fewshot_10_top1", "few_shot", "fraction", "higher"),
        ("train/pseudo_share_3", "PseudoLabels", "fraction", ""),
        ("best/val/knn_top1", "_finish", "that of the metric", ""),
        ("step", "CSVLog", "steps", ""),
    ],
)
def test_definitions(key: str, owner: str, unit: str, better: str) -> None:
    (found,) = metrics.definitions(key)
    assert (found.owner.name, found.unit, found.better) == (owner, unit, better)


def test_nothing_else_is_a_metric() -> None:
    assert metrics.definitions("val/nothing") == []
    assert metrics.definitions("judge/fid_") == []


def names(*stems: str) -> list[str]:
    return [name for name in recipes.shipped() if name.partition("/")[2] in stems]


def written(run: genlab.Run) -> set[str]:
    """Keys of a run's metrics.csv and metrics.json."""
    with (run.path / "metrics.csv").open() as file:
        columns = set(next(csv.reader(file)))
    return columns | set(json.loads((run.path / "metrics.json").read_text()))


def undefined(keys: set[str]) -> list[str]:
    return [key for key in keys if not metrics.definitions(key)]


def unknown_files(run: genlab.Run) -> list[str]:
    """Files of a run that have no description of their own."""
    paths = [file.relative_to(run.path) for file in run.path.rglob("*") if file.is_file()]
    found = {str(path): run_files.find(path) for path in paths}
    return [path for path, one in found.items() if one is None or one.name == "pictures/"]


def test_what_a_run_of_two_steps_writes_is_explained(here: Here) -> None:
    run = genlab.fit("vae/digits", SMALL | {"trainer.limit_train_batches": 2})
    assert {"train/loss_kl", "val/kl", "test/iwae_nll", "fit_seconds"} <= written(run)
    assert not undefined(written(run))
    assert not unknown_files(run)
    out, _ = here("explain", str(run.path / "checkpoints" / "last.ckpt"))
    assert ", of step 2" in out
    out, _ = here("explain", str(run.path))
    assert "run of vae/digits" in out
    assert "splits.npz: Positions of the images" in out


@pytest.mark.slow
def test_every_key_of_every_family_and_of_its_evaluation_is_defined(here: Here) -> None:
    runs: dict[str, genlab.Run] = {}
    for name in sorted(names("digits", "two_moons"), key=lambda n: n.startswith(LATER)):
        family = name.partition("/")[0]
        settings = SMALL | {"trainer.limit_train_batches": 10 if family == "wgan_gp" else 2}
        if family in PRIORS:
            settings["model.tokenizer"] = str(runs["vqvae/digits"].path)
        elif family in LATER:
            settings["model.pretrained"] = str(runs["simclr/digits"].path)
        runs[name] = genlab.fit(name, settings)
        assert not undefined(written(runs[name])), name
        if "digits" in name:
            assert not undefined(set(genlab.evaluate(runs[name].path))), name
        assert not unknown_files(runs[name]), name
    judge = str(runs["classifier/digits"].path)
    for name in ("cvae/digits", "vq_prior/digits"):
        found = genlab.evaluate(runs[name].path, judge=judge, samples=300)
        assert {"judge/diversity", "judge/kid_small_cnn_floor"} <= set(found)
        assert not undefined(set(found)), name
