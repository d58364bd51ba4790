"""A resumed run ends with the weights of the straight run, bit for bit, wherever it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab import optim
from genlab.data import Digits

EPOCH = 10  # micro-batches


class Tiny(L.LightningModule):
    """Softmax regression that remembers which images it was shown."""

    def __init__(self, schedule: str) -> None:
        super().__init__()
        self.layer, self.schedule = nn.Linear(64, 10), schedule
        self.shown: list[list[int]] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.shown.append(batch["index"].tolist())
        return F.cross_entropy(self.layer(batch["image"].flatten(1)), batch["label"])

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optim.build(self, {"lr": 0.01, "schedule": self.schedule})


class Save(L.Callback):
    """A checkpoint after every batch, at the epoch's end and after validation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        trainer.save_checkpoint(self.folder / f"batch{trainer.fit_loop.total_batch_idx + 1}.ckpt")

    def on_train_epoch_end(self, trainer: L.Trainer, *args: Any) -> None:
        trainer.save_checkpoint(self.folder / f"epoch{trainer.current_epoch}.ckpt")

    def on_validation_end(self, trainer: L.Trainer, *args: Any) -> None:
        if not trainer.sanity_checking:
            trainer.save_checkpoint(self.folder / f"val{trainer.current_epoch}.ckpt")


def fit(
    *,
    resume: Path | None = None,
    save: Path | None = None,
    after: Path | None = None,
    schedule: str = "cosine",
    accumulate: int = 1,
    data: dict[str, Any] | None = None,
    **trainer_arguments: Any,
) -> tuple[Tiny, L.Trainer]:
    torch.manual_seed(1)
    method = Tiny(schedule)
    options: dict[str, Any] = {"val_size": 200, "binarize": "dynamic", "seed": 4} | (data or {})
    digits = Digits(batch_size=120 * accumulate, **options)
    trainer = L.Trainer(
        **({"max_epochs": 3} | trainer_arguments),
        accelerator="cpu",
        accumulate_grad_batches=accumulate,
        callbacks=[Save(save)] if save else [],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(method, datamodule=digits, ckpt_path=resume, weights_only=True if resume else None)
    if after:
        trainer.save_checkpoint(after)
    return method, trainer


def assert_same(resumed: Tiny, straight: Tiny) -> None:
    left = len(straight.shown) - len(resumed.shown)
    assert resumed.shown == straight.shown[left:]
    for ours, theirs in zip(resumed.parameters(), straight.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tiny, Path]:
    folder = tmp_path_factory.mktemp("straight")
    return fit(save=folder)[0], folder


POINTS = [
    *(f"batch{k}" for k in (1, 2, 5, 9, 10, 11, 14, 19, 20, 21, 29, 30)),
    *(f"{kind}{epoch}" for kind in ("epoch", "val") for epoch in range(3)),
]


@pytest.mark.parametrize("steps", [-1, 30])
@pytest.mark.parametrize("point", POINTS)
def test_from_anywhere(straight: tuple[Tiny, Path], point: str, steps: int) -> None:
    reference, folder = straight
    resumed, trainer = fit(resume=folder / f"{point}.ckpt", max_steps=steps)
    assert trainer.global_step == 30
    if resumed.shown:
        assert trainer.current_epoch == 3
    assert_same(resumed, reference)


@pytest.mark.parametrize("stop", [4, 10, 13, 20])
@pytest.mark.parametrize("steps", [-1, 30])
def test_after_a_fit_that_ended_at_max_steps(tmp_path: Path, stop: int, steps: int) -> None:
    reference, _ = fit(schedule="constant")
    fit(schedule="constant", max_steps=stop, after=tmp_path / "end.ckpt")
    resumed, trainer = fit(schedule="constant", resume=tmp_path / "end.ckpt", max_steps=steps)
    assert len(resumed.shown) == 30 - stop
    assert trainer.current_epoch == 3
    assert_same(resumed, reference)


def test_at_the_ends_of_accumulation_windows(tmp_path: Path) -> None:
    reference, _ = fit(accumulate=4, save=tmp_path)
    for batch in (4, 8, 10, 14, 18, 20, 24, 28, 30):  # an epoch's windows end at 4, 8 and 10
        resumed, trainer = fit(accumulate=4, resume=tmp_path / f"batch{batch}.ckpt")
        assert trainer.global_step == 9
        assert_same(resumed, reference)


def test_with_fewer_batches_an_epoch_and_validation_within_it(tmp_path: Path) -> None:
    some: dict[str, Any] = {"limit_train_batches": 6, "val_check_interval": 3}
    reference, _ = fit(save=tmp_path, **some)
    for point in ("batch2", "batch3", "batch6", "batch7", "epoch0", "val0", "epoch1"):
        assert_same(fit(resume=tmp_path / f"{point}.ckpt", **some)[0], reference)


def test_twice_interrupted(tmp_path: Path) -> None:
    reference, _ = fit(schedule="constant")
    fit(schedule="constant", max_steps=7, after=tmp_path / "a.ckpt")
    fit(schedule="constant", resume=tmp_path / "a.ckpt", max_steps=15, after=tmp_path / "b.ckpt")
    assert_same(fit(schedule="constant", resume=tmp_path / "b.ckpt")[0], reference)


def test_with_augmentation_and_balanced_sampling(tmp_path: Path) -> None:
    data = {"augment": {"translate": 2, "rotate": 20.0, "erase": 0.5}, "sampling": "balanced"}
    reference, _ = fit(save=tmp_path, data=data)
    for point in ("batch4", "batch10", "batch17"):
        assert_same(fit(resume=tmp_path / f"{point}.ckpt", data=data)[0], reference)
    plain, _ = fit(resume=tmp_path / "batch10.ckpt", data=data | {"augment": None})
    assert not torch.equal(plain.layer.weight, reference.layer.weight)


def test_another_batch_size_is_refused_in_mid_epoch(straight: tuple[Tiny, Path]) -> None:
    _, folder = straight
    data = Digits(batch_size=60, val_size=200, seed=4)
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        max_epochs=3,
    )
    with pytest.raises(ValueError, match="mid-epoch with batch size 120, now it is 60"):
        trainer.fit(
            Tiny("cosine"), datamodule=data, ckpt_path=folder / "batch5.ckpt", weights_only=True
        )
