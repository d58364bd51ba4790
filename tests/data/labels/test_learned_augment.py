"""What CTAugment learns in a run: from labelled probes alone, once a step, exactly again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab import checkpoints, optim
from genlab.augment.ct_augment import CTAugment
from genlab.callbacks import EMAWeights
from genlab.data.labels.learned_augment import LearnedAugment, predictions, proximity
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed
from tests.data.labels.programs_semi import loader_of

pytestmark = pytest.mark.filterwarnings("ignore:The number of training batches")


class Tiny(L.LightningModule):
    """A network with dropout and batch norm, and the loss of FixMatch without a threshold."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(), nn.BatchNorm1d(64), nn.Dropout(0.2), nn.Linear(64, 10)
        )
        self.last: dict[str, Any] = {}

    def logits(self, image: Tensor) -> Tensor:
        return self.net(image)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        labeled, (weak, strong) = batch["labeled"], batch["unlabeled"]["views"]
        self.last = batch
        loss = F.cross_entropy(self.logits(labeled["image"]), labeled["label"])
        guess = self.logits(weak).detach().argmax(1)
        return loss + F.cross_entropy(self.logits(strong), guess)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optim.build(self, {"name": "sgd", "lr": 0.3, "schedule": "cosine_7_16"})


class Wrong(L.Callback):
    """Gives wrong true labels to one part of every batch."""

    def __init__(self, part: str) -> None:
        self.part = part

    def on_train_batch_start(self, trainer: L.Trainer, module: Any, batch: Any, _: int) -> None:
        batch[self.part]["label"] = batch[self.part]["label"].roll(1)


def fit(
    folder: Path,
    *callbacks: L.Callback,
    resume: Path | None = None,
    steps: int = 4,
    epochs: int = 3,
    accumulate: int = 1,
    method: L.LightningModule | None = None,
    **options: Any,
) -> tuple[Any, Tensor, L.Trainer]:
    """A run: the method, the rates and the trainer."""
    torch.manual_seed(1)
    method = method or Tiny()
    strong = {"policy": "ctaugment", "decay": 0.8}
    own = {"batch_size": 16, "unlabeled_ratio": 2, "steps_per_epoch": steps, "strong": strong}
    data = loader_of(**own | options)
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
    return method, getattr(data.few.strong, "rates", torch.empty(0)), trainer


def test_proximity_is_the_probability_of_the_true_class() -> None:
    p, label = torch.randn(6, 4).softmax(1), torch.arange(6) % 4
    torch.testing.assert_close(proximity(p, label), p[torch.arange(6), label])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_one_step_moves_the_rates_by_what_the_network_then_says(
    tmp_path: Path, accumulate: int
) -> None:
    """In eval mode, after the optimiser's step, of all its batches; the modes come back."""
    method, rates, trainer = fit(tmp_path, steps=1, epochs=1, accumulate=accumulate)
    assert method.training
    assert trainer.global_step == 1
    expected = CTAugment(decay=0.8)
    assert not torch.equal(rates, expected.rates)
    data = loader_of(batch_size=16, unlabeled_ratio=2, steps_per_epoch=1, strong="ctaugment")
    data.trainer = trainer
    given = [data.to_device(batch)["probe"] for batch in data.train_dataloader()]
    assert len(given) == accumulate
    probe = {k: torch.cat([part[k] for part in given]) for k in given[0]}
    method.eval()
    p = method.logits(probe["image"]).softmax(1)
    expected.update(probe["op"], probe["bin"], proximity(p, probe["label"]))
    torch.testing.assert_close(rates, expected.rates)
    assert 0 < float(trainer.callback_metrics["train/strong_bins"]) <= 1


def test_predictions_take_the_average_of_the_weights_and_leave_no_trace() -> None:
    method, image = Tiny(), torch.rand(5, 1, 8, 8)
    method.net[1].eval()  # as a frozen part is
    before = {name: value.clone() for name, value in method.state_dict().items()}
    modes = [part.training for part in method.modules()]
    live = predictions(method, image, {})
    average = {"net.3.weight": torch.zeros(10, 64), "net.3.bias": torch.zeros(10)}
    even = predictions(method, image, average)
    torch.testing.assert_close(even, torch.full((5, 10), 0.1))
    assert not torch.allclose(live, even)
    assert torch.equal(live, predictions(method, image, {}))  # no dropout
    assert [part.training for part in method.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    assert not live.requires_grad


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_run_is_the_straight_run(tmp_path: Path, accumulate: int) -> None:
    keep: dict[str, Any] = {"keep_every_n_steps": 1, "monitor": None}
    straight, rates, _ = fit(
        tmp_path / "a", EMAWeights(0.9), Checkpoints(**keep), accumulate=accumulate
    )
    start = CTAugment().rates
    for step in (2, 4, 9):  # in mid-epoch, at an epoch's end
        file = tmp_path / "a" / "checkpoints" / f"step-{step:08d}.ckpt"
        kept = checkpoints.read(file)["callbacks"]["LearnedAugment"]["rates"]
        assert not torch.equal(kept, start)
        assert not torch.equal(kept, rates)
        method, again, _ = fit(
            tmp_path / f"{step}", EMAWeights(0.9), Checkpoints(**keep), resume=file,
            accumulate=accumulate,
        )  # fmt: skip
        assert torch.equal(again, rates), step
        for name, value in straight.state_dict().items():
            assert torch.equal(method.state_dict()[name], value), (step, name)


def test_only_the_labels_of_labelled_images_are_learnt_from(tmp_path: Path) -> None:
    """Wrong true labels of the unlabelled images leave weights and rates bit-equal; 20 steps."""
    some: dict[str, Any] = {"steps": 20, "epochs": 1}
    plain, rates, _ = fit(tmp_path, **some)
    method, same, _ = fit(tmp_path, Wrong("unlabeled"), **some)
    assert torch.equal(same, rates)
    for name, value in plain.state_dict().items():
        assert torch.equal(method.state_dict()[name], value), name
    _, other, _ = fit(tmp_path, Wrong("probe"), **some)
    assert not torch.equal(other, rates)


def test_a_policy_learns_to_be_careful(tmp_path: Path) -> None:
    """After 60 steps some bins are no longer drawn, and another fit forgets them."""
    trainer: Any
    method, rates, trainer = fit(tmp_path, steps=60, epochs=1)
    used = float(trainer.callback_metrics["train/strong_bins"])
    assert 0.02 < used < 0.9
    policy = trainer.datamodule.few.strong
    trainer.validate(method, datamodule=trainer.datamodule, verbose=False)
    assert torch.equal(policy.rates, rates)
    assert sum(isinstance(c, LearnedAugment) for c in trainer.callbacks) == 1
    trainer.fit_loop.max_epochs = 1  # nothing is left to do
    trainer.fit(method, datamodule=trainer.datamodule)
    assert torch.equal(policy.rates, CTAugment().rates)


def test_it_is_there_only_where_something_is_learnt(tmp_path: Path) -> None:
    trainer: Any
    for options in ({"strong": "rand_augment"}, {"strong": None}):
        _, rates, trainer = fit(tmp_path, steps=1, epochs=1, **options)
        assert not len(rates)
        assert not any(isinstance(c, LearnedAugment) for c in trainer.callbacks)
    batch = loader_of(strong="rand_augment").train_dataloader()
    assert "probe" not in loader_of(strong="rand_augment").to_device(next(iter(batch)))


def test_a_method_without_predictions_is_refused(tmp_path: Path) -> None:
    class Mute(L.LightningModule):
        def training_step(self, batch: Any, batch_idx: int) -> None:
            return None

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            return None

        def configure_optimizers(self) -> None:
            return None

    with pytest.raises(ValueError, match="requires predictions to learn from; Mute has none"):
        fit(tmp_path, method=Mute())
