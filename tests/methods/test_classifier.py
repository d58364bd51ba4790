"""The judge: it must be right before its opinion counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from genlab.data import MNIST, Digits
from genlab.methods.classifier import Classifier
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer


def test_loss_is_cross_entropy_of_the_logits() -> None:
    method = Classifier(5, 1, 8).eval()
    image, label = torch.rand(7, 1, 8, 8), torch.arange(7) % 5
    out = method.training_step({"image": image, "label": label}, 0)
    logits = method.head(method(image))
    torch.testing.assert_close(out["loss"], F.cross_entropy(logits, label))
    assert out["accuracy"] == (logits.argmax(1) == label).float().mean()


def test_any_timm_encoder() -> None:
    method = Classifier(3, 3, 32, encoder="vit_tiny_patch16_224")
    assert method.logits(torch.rand(2, 3, 32, 32)).shape == (2, 3)


def test_it_learns_digits(tmp_path: Path) -> None:
    """95 % where chance is 10 %: seeds 0 to 2 reached at least 96 %."""
    torch.manual_seed(0)
    data = Digits(batch_size=64, val_size=200, seed=0)
    method = Classifier(10, 1, 8, optimizer={"lr": 5e-3, "schedule": "cosine"})
    fit = trainer(tmp_path, Reseed(), Checkpoints(), max_epochs=8, log_every_n_steps=10)
    fit.fit(method, datamodule=data)
    fit.test(method, datamodule=data, verbose=False)
    assert fit.callback_metrics["test/accuracy"] > 0.95


@pytest.mark.slow
def test_it_learns_mnist(tmp_path: Path, data_root: Path) -> None:
    data = MNIST(root=str(data_root), batch_size=128, val_size=5000, download=False)
    method = Classifier(
        10, 1, 28, optimizer={"lr": 5e-3, "schedule": "cosine"}, encoder_kwargs={"width": 16}
    )
    fit = trainer(tmp_path, Reseed(), Checkpoints(), max_epochs=4)
    fit.fit(method, datamodule=data)
    fit.test(method, datamodule=data, verbose=False)
    assert fit.callback_metrics["test/accuracy"] > 0.985


def test_two_classes_at_least() -> None:
    with pytest.raises(ValueError, match="num_classes"):
        Classifier(num_classes=1)
