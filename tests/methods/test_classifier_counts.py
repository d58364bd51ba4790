"""What the classifier takes from the class counts of its data, and that it resumes exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from genlab import checkpoints
from genlab.data import Digits
from genlab.methods.classifier import Classifier
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer
from tests.methods.test_classifier_tricks import classifier


class FewDigits(Digits):
    """Digits without nines and with about one in five of the other odd ones."""

    def setup(self, stage: str | None = None) -> None:
        if self._parts:
            return
        super().setup(stage)
        source, rows = self._parts["train"]
        label = source.labels[rows]
        chance = torch.rand(len(rows), generator=torch.Generator().manual_seed(0))
        keep = (label % 2 == 0) | (chance < 0.2)
        self._parts["train"] = source, rows[keep & (label < 9)]


def fitted(folder: Path, method: Classifier, **options: Any) -> tuple[Classifier, Digits]:
    """Trained for one step on the uneven digits."""
    data = FewDigits(batch_size=64, val_size=100, seed=0)
    chosen = {"max_steps": 1, "limit_val_batches": 0, "enable_checkpointing": True} | options
    trainer(folder, Reseed(), Checkpoints(every_n_steps=1), **chosen).fit(method, datamodule=data)
    return method, data


def test_balanced_weights_are_scikit_learns_and_travel_with_the_checkpoint(tmp_path: Path) -> None:
    method, data = fitted(tmp_path, classifier(class_weights="balanced"))
    source, rows = data._parts["train"]
    label = source.labels[rows].numpy()
    wanted = compute_class_weight("balanced", classes=np.arange(9), y=label)
    assert method.class_weights is not None
    np.testing.assert_allclose(method.class_weights[:9], wanted * 9 / 10, rtol=1e-2)
    assert method.class_weights[9] == method.class_weights.max()  # absent: as if there were one
    loaded: Any = checkpoints.load(tmp_path / "checkpoints" / "last.ckpt")
    assert torch.equal(loaded.class_weights, method.class_weights)


def test_prior_bias_starts_at_the_frequencies_of_the_classes(tmp_path: Path) -> None:
    method, data = fitted(tmp_path, classifier(prior_bias=True, optimizer={"lr": 0.0}))
    source, rows = data._parts["train"]
    share = source.labels[rows].bincount(minlength=10) / len(rows)
    torch.testing.assert_close(method.head.bias.detach().softmax(0), share, rtol=0, atol=2e-3)


def test_prior_bias_is_not_set_again_in_a_trained_model(tmp_path: Path) -> None:
    method, _ = fitted(tmp_path, classifier(prior_bias=True, optimizer={"lr": 0.1}))
    trained = method.head.bias.detach().clone()
    loaded: Any = checkpoints.load(tmp_path / "checkpoints" / "last.ckpt")
    fitted(tmp_path / "again", loaded.train(), max_steps=0)
    assert torch.equal(loaded.head.bias, trained)


def test_data_without_class_counts_are_refused(tmp_path: Path) -> None:
    method, fit = classifier(class_weights="balanced"), trainer(tmp_path)
    loader = Digits(val_size=100).bank_dataloader()
    with pytest.raises(ValueError, match="class_counts"):
        fit.fit(method, loader, loader)


EVERYTHING: dict[str, Any] = {
    "loss": "focal",
    "label_smoothing": 0.1,
    "flooding": 0.5,
    "class_weights": "balanced",
    "mixup": 0.4,
    "cutmix": 1.0,
    "mix_prob": 0.7,
    "prior_bias": True,
    "dropout": 0.2,
    "tta": "hflip",
}


def test_a_resumed_run_with_every_trick_ends_with_the_same_weights(tmp_path: Path) -> None:
    """Stopped in mid-epoch: mixing, dropout and weights go on as in the straight run."""
    options: dict[str, Any] = {"optimizer": {"lr": 3e-3, "schedule": "cosine"}} | EVERYTHING
    length = {"max_steps": -1, "max_epochs": 2, "limit_val_batches": 1}
    saved = Checkpoints(keep_every_n_steps=7)

    def run(folder: Path, resume: Path | None) -> Classifier:
        method = classifier(**options)
        data = FewDigits(batch_size=64, val_size=100, seed=0)
        trainer(folder, Reseed(), saved if resume is None else Checkpoints(), **length).fit(
            method, datamodule=data, ckpt_path=resume, weights_only=True if resume else None
        )
        return method

    straight = run(tmp_path, None)
    resumed = run(tmp_path / "resumed", tmp_path / "checkpoints" / "step-00000007.ckpt")
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
