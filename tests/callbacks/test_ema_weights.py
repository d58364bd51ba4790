"""The average is what its recursion says, is what is validated and kept, and survives a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab import checkpoints, optim
from genlab.callbacks import EMAWeights
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import digits, trainer

pytestmark = pytest.mark.filterwarnings("ignore:The number of training batches")


class Net(L.LightningModule):
    """A batch norm, a frozen layer, tied weights; notes what each step and validation saw."""

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.norm, self.layer = nn.BatchNorm1d(64), nn.Linear(64, 64)
        self.frozen = nn.Linear(64, 10).requires_grad_(False)
        self.tied = self.layer
        self.seen: list[dict[str, Tensor]] = []
        self.validated: list[dict[str, Tensor]] = []
        self.modes: list[bool] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        self.modes.append(self.training)
        h = self.layer(self.norm(batch["image"].flatten(1)))
        return {"loss": F.cross_entropy(self.frozen(h), batch["label"])}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.seen.append({n: p.detach().clone() for n, p in self.named_parameters()})

    def on_validation_epoch_start(self) -> None:
        self.validated.append({n: p.detach().clone() for n, p in self.named_parameters()})

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        h = self.layer(self.norm(batch["image"].flatten(1)))
        self.log("val/loss", F.cross_entropy(self.frozen(h), batch["label"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optim.build(self, {"lr": self.hparams["lr"], "schedule": "constant"})


def fit(folder: Path, ema: EMAWeights, **options: Any) -> Net:
    torch.manual_seed(3)
    model, resume = Net(), options.pop("resume", None)
    batch = options.pop("batch_size", 32)
    keep = Checkpoints(keep_every_n_steps=1)
    fit = trainer(folder, Reseed(), ema, keep, **options)
    fit.fit(model, datamodule=digits(batch_size=batch), ckpt_path=resume, weights_only=True)
    return model


def recursion(seen: list[dict[str, Tensor]], decay: float, warmup: bool) -> dict[str, Tensor]:
    """The average, slowly."""
    average = {n: t.double() for n, t in seen[0].items()}
    for n, weights in enumerate(seen[1:], start=2):
        keep = min(decay, (1 + n) / (10 + n)) if warmup else decay
        average = {k: keep * a + (1 - keep) * weights[k].double() for k, a in average.items()}
    return average


def assert_close(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    for name in a:
        torch.testing.assert_close(a[name].double(), b[name].double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(("decay", "warmup"), [(0.9, True), (0.9, False), (0.3, True)])
def test_one_update_an_optimiser_step(
    tmp_path: Path, decay: float, warmup: bool, accumulate: int
) -> None:
    options = {"accumulate_grad_batches": accumulate, "batch_size": 32 * accumulate}
    model = fit(tmp_path, EMAWeights(decay, warmup), max_epochs=1, **options)
    assert len(model.seen) == 20 // (2 * accumulate)
    expected = recursion(model.seen, decay, warmup)
    assert_close(dict(model.named_parameters()), expected)  # what fit leaves behind
    assert (expected["layer.weight"] - model.seen[-1]["layer.weight"]).abs().max() > 1e-3


def test_updates_may_be_rarer(tmp_path: Path) -> None:
    model = fit(tmp_path, EMAWeights(0.8, every_n_steps=3), max_epochs=1)
    assert_close(dict(model.named_parameters()), recursion(model.seen[2::3], 0.8, True))


def test_validation_sees_the_average_and_training_the_live_weights(tmp_path: Path) -> None:
    model = fit(tmp_path, EMAWeights(0.9), max_epochs=2)
    torch.manual_seed(3)
    plain = Net()
    without = trainer(tmp_path / "plain", Reseed(), Checkpoints())
    without.fit(plain, datamodule=digits())
    for mine, theirs in zip(model.seen, plain.seen, strict=True):
        assert all(torch.equal(mine[n], theirs[n]) for n in theirs)
    assert all(model.modes)
    for epoch, validated in enumerate(model.validated, start=1):
        assert_close(validated, recursion(model.seen[: 10 * epoch], 0.9, True))
        assert not torch.equal(
            validated["layer.weight"], plain.validated[epoch - 1]["layer.weight"]
        )


def test_a_checkpoint_holds_the_average_with_live_buffers(tmp_path: Path) -> None:
    model = fit(tmp_path, EMAWeights(0.9), max_epochs=1)
    for step in (4, 10):
        content = checkpoints.read(tmp_path / "checkpoints" / f"step-{step:08d}.ckpt")
        expected = recursion(model.seen[:step], 0.9, True)
        assert_close({n: content["state_dict"][n] for n in expected}, expected)
        assert torch.equal(
            content["state_dict"]["tied.weight"], content["state_dict"]["layer.weight"]
        )
        live = content["live_weights"]
        assert set(live) == {"norm.weight", "norm.bias", "layer.weight", "layer.bias"}
        assert all(torch.equal(live[n], model.seen[step - 1][n]) for n in live)
        assert content["state_dict"]["norm.num_batches_tracked"] == step
    assert torch.equal(
        content["state_dict"]["norm.running_mean"], dict(model.named_buffers())["norm.running_mean"]
    )


@pytest.mark.parametrize(  # mid-epoch, at the end of one, in the next
    ("accumulate", "step"), [(1, 4), (1, 10), (1, 13), (2, 3), (2, 5), (2, 7)]
)
def test_resumed_is_the_straight_run(tmp_path: Path, accumulate: int, step: int) -> None:
    options = {"max_epochs": 2, "accumulate_grad_batches": accumulate}
    options["batch_size"] = 32 * accumulate
    straight = fit(tmp_path / "a", EMAWeights(0.9), **options)
    middle = tmp_path / "a" / "checkpoints" / f"step-{step:08d}.ckpt"
    resumed = fit(tmp_path / "b", EMAWeights(0.9), resume=middle, **options)
    a, b = (
        checkpoints.read(tmp_path / run / "checkpoints" / "last.ckpt")["state_dict"] for run in "ab"
    )
    assert a.keys() == b.keys()
    assert all(torch.equal(a[n], b[n]) for n in a)
    assert all(torch.equal(straight.seen[-1][n], resumed.seen[-1][n]) for n in straight.seen[-1])


def test_a_test_after_fit_uses_the_average(tmp_path: Path) -> None:
    model = Net()
    fit = trainer(tmp_path, EMAWeights(0.9), Checkpoints(), max_epochs=1)
    data = digits()
    fit.fit(model, datamodule=data)
    last = tmp_path / "checkpoints" / "last.ckpt"
    fit.validate(model, datamodule=data, ckpt_path=last, weights_only=True, verbose=False)
    assert_close(model.validated[-1], recursion(model.seen, 0.9, True))


def test_averaging_calms_a_noisy_run(tmp_path: Path) -> None:
    """Steps far too long: the live weights rattle around what their average is near to."""
    losses = {}
    for name, callbacks in (("ema", [EMAWeights(0.999)]), ("live", [])):
        torch.manual_seed(0)
        run = trainer(tmp_path / name, Reseed(), Checkpoints(), *callbacks, max_epochs=5)
        run.fit(Net(lr=0.2), datamodule=digits(batch_size=16))
        losses[name] = float(run.callback_metrics["val/loss"])
    assert losses["ema"] < 0.85 * losses["live"]  # 2.60 and 3.89; seed 1: 1.60 and 2.44


def test_sixteen_bits_do_not_stop_the_average() -> None:
    """1 -> 2 in steps of 0.001 of the way, each less than bfloat16 can tell from none."""
    module, ema = nn.Linear(1, 1, bias=False).to(torch.bfloat16), EMAWeights(0.999, warmup=False)
    for value in (1.0, *[2.0] * 500):
        nn.init.constant_(module.weight, value)
        ema.update(module)
    assert ema.average["weight"].item() == pytest.approx(2 - 0.999**500, abs=1e-3)


def test_an_interrupted_validation_leaves_the_live_weights(tmp_path: Path) -> None:
    class Stopped(Net):
        def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
            raise ArithmeticError

    model = Stopped()
    with pytest.raises(ArithmeticError):
        trainer(tmp_path, EMAWeights(0.9), Checkpoints()).fit(model, datamodule=digits())
    live = dict(model.named_parameters())
    assert all(torch.equal(live[n], model.seen[-1][n]) for n in live)


@pytest.mark.parametrize("arguments", [{"decay": 1.0}, {"decay": -0.1}, {"every_n_steps": 0}])
def test_refusals(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"EMAWeights.{next(iter(arguments))}"):
        EMAWeights(**arguments)
