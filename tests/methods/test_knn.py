"""kNN as a method: nothing is trained, and the bank travels in the checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from genlab import checkpoints
from genlab.methods.knn import KNN
from genlab.metrics import knn_scores
from genlab.metrics.step_metrics import StepMetrics
from genlab.training.engine.checkpointing import Checkpoints
from tests.callbacks.tiny import digits, trainer

SMALL: dict[str, Any] = {
    "channels": 1,
    "image_size": 8,
    "encoder": "small_cnn",
    "encoder_kwargs": {"width": 4},
    "k": 5,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[KNN, KNN, dict[str, float], Path]:
    """The method before and after, its figures, and its checkpoint."""
    folder = tmp_path_factory.mktemp("knn")
    torch.manual_seed(0)
    before, method = KNN(**SMALL), KNN(**SMALL)
    before.load_state_dict(method.state_dict())
    keep = Checkpoints(monitor="val/knn_top1", mode="max")
    fit = trainer(folder, keep, StepMetrics(), max_epochs=1)
    fit.fit(method, datamodule=digits(augment={"flip": True}))
    figures = {k: float(v) for k, v in fit.callback_metrics.items()}
    assert keep.best_path is not None
    fit.test(
        method, datamodule=digits(), ckpt_path=keep.best_path, weights_only=True, verbose=False
    )
    figures |= {k: float(v) for k, v in fit.callback_metrics.items()}
    return before, method, figures | {"step": fit.global_step}, keep.best_path


def test_nothing_is_trained(run: tuple[KNN, KNN, dict[str, float], Path]) -> None:
    before, after, figures, _ = run
    assert figures["step"] == 10
    for name, value in before.encoder.state_dict().items():
        assert torch.equal(after.encoder.state_dict()[name], value), name


def test_figures_are_those_of_the_votes(run: tuple[KNN, KNN, dict[str, float], Path]) -> None:
    """The bank is every training image once, as it is; the figure follows from the definition."""
    _, method, figures, _ = run
    data = digits()
    (train,) = digits(eval_batch_size=320).bank_dataloader("train")
    assert sorted(method.position.tolist()) == sorted(train["index"].tolist())
    queries = [data.to_device(b) for b in data.bank_dataloader("val")]
    bank = method.knn.bank
    assert bank is not None
    image, label = (torch.cat([b[k] for b in queries]) for k in ("image", "label"))
    right = knn_scores(method(image), bank, 10, k=5).argmax(1) == label
    assert figures["val/knn_top1"] == pytest.approx(float(right.float().mean()))
    assert figures["val/knn_top1"] > 0.7  # random features; chance is 0.1
    assert figures["test/knn_top1"] > 0.7
    assert figures["val/knn_top5"] >= figures["val/knn_top1"]


def test_the_checkpoint_brings_its_bank(run: tuple[KNN, KNN, dict[str, float], Path]) -> None:
    _, method, _, file = run
    again: Any = checkpoints.load(file)
    image = torch.rand(6, 1, 8, 8)
    assert len(again.features) == 320
    assert torch.equal(again.logits(image), method.eval().logits(image))
    torch.testing.assert_close(again.logits(image).softmax(1).sum(1), torch.ones(6).double())


def test_without_an_encoder_it_refuses() -> None:
    with pytest.raises(ValueError, match="pretrained=RUN"):
        KNN(**(SMALL | {"encoder": None}))
    with pytest.raises(ValueError, match="temperature"):
        KNN(**(SMALL | {"temperature": 0.0}))
