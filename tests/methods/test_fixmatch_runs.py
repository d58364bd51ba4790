"""FixMatch in a real fit: exact resume, the average beside the live weights, and its recipes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn

from genlab import checkpoints, networks, recipes
from genlab.callbacks import EMAWeights
from genlab.callbacks.last_median import LastMedian
from genlab.callbacks.live_accuracy import LiveAccuracy
from genlab.data import Digits
from genlab.methods.fixmatch import FixMatch
from genlab.optim.schedules import lr_factor
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed

pytestmark = pytest.mark.filterwarnings("ignore:The number of training batches")
SGD: dict[str, Any] = {"name": "sgd", "lr": 0.03, "weight_decay": 5e-4, "schedule": "cosine_7_16"}


class Modes(L.Callback):
    """Whether each training step found the network in train mode."""

    def __init__(self) -> None:
        self.modes: list[bool] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any
    ) -> None:
        self.modes.append(all(m.training for m in pl_module.encoder.modules()))  # type: ignore[union-attr]


def fit(
    folder: Path,
    *callbacks: L.Callback,
    resume: Path | None = None,
    epochs: int = 3,
    **options: Any,
) -> tuple[FixMatch, L.Trainer]:
    torch.manual_seed(1)
    accumulate, steps = options.pop("accumulate", 1), options.pop("steps", 4)
    own: dict[str, Any] = {
        "image_size": 8,
        "channels": 1,
        "encoder": "small_cnn",
        "encoder_kwargs": {"width": 8},
    }
    method = FixMatch(**own | {"optimizer": SGD, "threshold": 0.3, "decay": 0.9} | options)
    data = Digits(
        batch_size=16, labels=40, steps_per_epoch=steps, val_size=200, seed=2,
        augment={"translate": 1}, unlabeled_ratio=options.pop("ratio", 3),
    )  # fmt: skip
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        accumulate_grad_batches=accumulate,
        callbacks=[Reseed(), *callbacks],
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=any(isinstance(c, Checkpoints) for c in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(method, datamodule=data, ckpt_path=resume, weights_only=True if resume else None)
    return method, trainer


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("rule", ["flexmatch", "freematch", "softmatch"])
def test_a_resumed_run_is_the_straight_run(tmp_path: Path, rule: str, accumulate: int) -> None:
    """Weights, batch norm, statistics of the rule and of the alignment, the average: bit-equal."""
    some: dict[str, Any] = {"rule": rule, "accumulate": accumulate, "align": "labels"}
    keep: dict[str, Any] = {"keep_every_n_steps": 1, "monitor": None}
    fit(tmp_path / "a", EMAWeights(0.9), LastMedian(), Checkpoints(**keep), **some)
    straight = checkpoints.read(tmp_path / "a" / "checkpoints" / "step-00000012.ckpt")
    for step in (2, 4, 9):  # in mid-epoch, at an epoch's end
        start = tmp_path / "a" / "checkpoints" / f"step-{step:08d}.ckpt"
        folder = tmp_path / f"{step}"
        fit(folder, EMAWeights(0.9), LastMedian(), Checkpoints(**keep), resume=start, **some)
        end = checkpoints.read(folder / "checkpoints" / "step-00000012.ckpt")
        for key in ("state_dict", "live_weights"):
            assert end[key].keys() == straight[key].keys()
            different = [n for n, v in end[key].items() if not torch.equal(v, straight[key][n])]
            assert not different
        medians = [c for c in end["callbacks"] if c.startswith("LastMedian")]
        assert end["callbacks"][medians[0]] == straight["callbacks"][medians[0]]
    assert any("rule." in name for name in straight["state_dict"])


def test_a_short_run_its_average_and_what_is_reported(tmp_path: Path) -> None:
    """200 steps: the average does not lag, statistics of batch norm are the live ones."""
    modes, keep = Modes(), Checkpoints(monitor="val/accuracy", mode="max")
    callbacks = (EMAWeights(0.99), LiveAccuracy(), LastMedian(count=3), keep, modes)
    method, trainer = fit(tmp_path, *callbacks, epochs=4, steps=50, threshold=0.9)
    figures = {k: float(v) for k, v in trainer.callback_metrics.items()}
    assert len(modes.modes) == 200
    assert all(modes.modes)  # also in the first step after a validation
    assert figures["val/accuracy"] > 0.6
    assert figures["val/accuracy"] > figures["val/accuracy_live"] - 0.05
    assert figures["val/accuracy"] != figures["val/accuracy_live"]
    for key in ("pseudo_accuracy", "pseudo_accuracy_all", "pseudo_entropy", "pseudo_share_9"):
        assert 0 <= figures[f"train/{key}"] <= 1
    assert figures["train/pseudo_accuracy"] > figures["train/pseudo_accuracy_all"] > 0.5
    best = keep.best["metrics"]
    assert {"val/accuracy", "val/accuracy_live", "val/accuracy_median3"} <= set(best)
    assert min(figures["val/accuracy_median3"], 1) <= best["val/accuracy"]
    content = checkpoints.read(tmp_path / "checkpoints" / "last.ckpt")
    norms = [n for n, m in method.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert int(content["state_dict"][f"{norms[0]}.num_batches_tracked"]) == 200


def test_the_live_accuracy_is_that_of_the_trained_weights(tmp_path: Path) -> None:
    _, plain = fit(tmp_path / "plain", epochs=2)
    _, both = fit(tmp_path / "both", EMAWeights(0.9), LiveAccuracy(), epochs=2)
    assert both.callback_metrics["val/accuracy_live"] == plain.callback_metrics["val/accuracy"]
    assert "val/accuracy_live" not in plain.callback_metrics
    _, without = fit(tmp_path / "without", LiveAccuracy(), epochs=1)
    assert "val/accuracy_live" not in without.callback_metrics


def test_the_median_is_of_the_last_ones(tmp_path: Path) -> None:
    class Fake(L.Callback):
        def on_validation_end(self, trainer: L.Trainer, *_: Any) -> None:
            trainer.callback_metrics["val/x"] = torch.tensor(
                [5.0, 1.0, 9.0, 4.0][trainer.current_epoch]
            )

    median = LastMedian("val/x", 3)
    _, trainer = fit(tmp_path, Fake(), median, epochs=4, steps=1)
    assert median.values == [1.0, 9.0, 4.0]
    assert trainer.callback_metrics["val/x_median3"] == 4
    with pytest.raises(ValueError, match="count must be at least 1"):
        LastMedian(count=0)


def test_alignment_takes_the_class_shares_of_the_labels(tmp_path: Path) -> None:
    method, _ = fit(tmp_path, epochs=1, steps=1, align="labels")
    assert method.alignment is not None
    torch.testing.assert_close(method.alignment.target, torch.full((10,), 0.1))


def test_the_learning_rate_falls_to_a_fifth() -> None:
    at = [lr_factor(step, 1000, 0, "cosine_7_16", 0.0) for step in (0, 500, 1000)]
    assert at == pytest.approx([1.0, 0.7730, 0.1951], abs=1e-4)
    assert at[1] == pytest.approx(math.cos(7 * math.pi / 32))


def test_the_network_of_the_paper() -> None:
    encoder = networks.encoder("wrn_28_2", variant="fixmatch")
    count = sum(p.numel() for p in (*encoder.parameters(), *nn.Linear(128, 10).parameters()))
    assert count == 1_467_610
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {m.momentum for m in norms} == {0.001}
    assert encoder.out_dim == 128


FIXMATCH = [name for name in sorted(recipes.shipped()) if name.startswith("fixmatch/")]
STATISTICS = {
    "CIFAR10": ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
    "SVHN": ([0.4377, 0.4438, 0.4728], [0.1980, 0.2010, 0.1970]),
    "STL10": ([0.4467, 0.4398, 0.4066], [0.2603, 0.2566, 0.2713]),
}


@pytest.mark.parametrize("name", FIXMATCH)
def test_recipes_keep_to_the_paper(name: str) -> None:
    config = recipes.resolve([name]).config
    data, model = (config[g]["init_args"] for g in ("data", "model"))
    kind = config["data"]["class_path"].rpartition(".")[2]
    assert bool(data["augment"].get("flip")) == (kind not in ("Digits", "MNIST", "SVHN"))
    assert data["labels"] in (10, 40, 100, 250, 1000, 4000)
    assert data["val_size"] > 0
    assert data["augment"].get("padding", "reflect") == "reflect"
    if kind == "STL10":
        assert data["augment"]["translate"] == (12 if "resize" not in data else 4)
        assert data["unlabeled"]
    if kind in STATISTICS:  # of the data set itself, in the network: training and test alike
        normalize = model["encoder_kwargs"]["normalize"]
        assert (normalize["mean"], normalize["std"]) == STATISTICS[kind]
    assert model["optimizer"] | SGD == model["optimizer"]
    used = [c["class_path"].rpartition(".")[2] for c in config["trainer"]["callbacks"]]
    assert {"EMAWeights", "LiveAccuracy", "LastMedian"} <= set(used)
    assert used.index("EMAWeights") < used.index("LiveAccuracy")
    if model.get("encoder") == "wrn_28_2":
        assert model["encoder_kwargs"]["variant"] == "fixmatch"
        assert data["batch_size"] == 64
        assert config["trainer"]["max_epochs"] * data["steps_per_epoch"] == 2**20


@pytest.mark.parametrize("name", [n for n in FIXMATCH if n.endswith("_supervised")])
def test_a_twin_differs_in_the_method_alone(name: str) -> None:
    base = {"fixmatch/cifar10_supervised": "fixmatch/cifar10_250"}.get(
        name, name.removesuffix("_supervised")
    )
    mine, theirs = (recipes.resolve([n]).config for n in (name, base))
    assert mine["trainer"] == theirs["trainer"]
    ratio = {"unlabeled_ratio": 0}
    assert mine["data"]["init_args"] == theirs["data"]["init_args"] | ratio
    keys = ("encoder", "encoder_kwargs", "optimizer")
    arguments = (c["model"]["init_args"] for c in (mine, theirs))
    one, other = ({k: a.get(k) for k in keys} for a in arguments)
    assert one == other
