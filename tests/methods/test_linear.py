"""The linear probe trains its classifier and nothing else, on features that it may compute once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.methods.linear import LinearProbe
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import digits, trainer
from tests.conftest import TwoRanks

SMALL: dict[str, Any] = {
    "channels": 1,
    "image_size": 8,
    "encoder": "small_cnn",
    "encoder_kwargs": {"width": 4},
    "optimizer": {"name": "sgd", "lr": 1.0, "momentum": 0.9, "schedule": "cosine"},
}


def probe(**options: Any) -> LinearProbe:
    torch.manual_seed(1)
    return LinearProbe(**(SMALL | options))


def encoder_of(method: LinearProbe) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in method.encoder.state_dict().items()}


def fitted(folder: Path, data: dict[str, Any] | None = None, **options: Any) -> LinearProbe:
    method = probe(**options)
    fit = trainer(folder, Reseed(), Checkpoints(), max_epochs=3)
    fit.fit(method, datamodule=digits(**(data or {})))
    return method


def test_the_encoder_stays_to_the_last_bit_and_the_classifier_learns(tmp_path: Path) -> None:
    adam = {"name": "adam", "lr": 0.02}
    method = probe(batch_norm=True, encoder_kwargs={"width": 16}, optimizer=adam)
    before, head = encoder_of(method), method.head.weight.clone()
    fit = trainer(tmp_path, Reseed(), Checkpoints(), max_epochs=10)
    fit.fit(method, datamodule=digits(augment={"translate": 1}))
    after = encoder_of(method)
    assert {"backbone.1.running_mean", "backbone.0.weight"} <= set(before)
    for name in before:
        assert torch.equal(after[name], before[name]), name
    assert not torch.equal(method.head.weight, head)
    assert fit.callback_metrics["val/accuracy"] > 0.6  # 0.91; features are random, chance is 0.1


def test_only_the_classifier_is_given_to_the_optimiser() -> None:
    method = probe()
    trainable = {name for name, p in method.named_parameters() if p.requires_grad}
    assert trainable == {"head.weight", "head.bias"}
    assert not method.train().encoder.backbone.training
    loss = method.training_step({"image": torch.rand(4, 1, 8, 8), "label": torch.arange(4)}, 0)
    loss["loss"].backward()
    assert all(p.grad is None for p in method.encoder.parameters())


def test_loss_is_cross_entropy_of_a_linear_map_of_the_features() -> None:
    method = probe()
    image, label = torch.rand(7, 1, 8, 8), torch.arange(7)
    label[3] = -1
    out = method.training_step({"image": image, "label": label}, 0)
    logits = F.linear(method.encoder(image), method.head.weight, method.head.bias)
    torch.testing.assert_close(out["loss"], F.cross_entropy(logits, label, ignore_index=-1))
    torch.testing.assert_close(method.logits(image), logits)


def test_precomputed_features_train_the_same_classifier(tmp_path: Path) -> None:
    slow, fast = fitted(tmp_path / "slow"), fitted(tmp_path / "fast", precompute=True)
    for name, value in slow.head.state_dict().items():
        torch.testing.assert_close(fast.head.state_dict()[name], value, atol=1e-5, rtol=0)


def test_precomputing_encodes_each_image_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    forward = LinearProbe.forward

    def counted(self: LinearProbe, image: Tensor) -> Tensor:
        seen.append(len(image))
        return forward(self, image)

    monkeypatch.setattr(LinearProbe, "forward", counted)
    fitted(tmp_path, precompute=True)
    assert sum(seen) == 320 + 100  # training and validation images


def test_precomputing_refuses_images_that_change(tmp_path: Path) -> None:
    for data in ({"augment": {"flip": True}}, {"binarize": "dynamic"}):
        with pytest.raises(ValueError, match="precompute"):
            fitted(tmp_path, data=data, precompute=True)


def test_a_resumed_probe_is_that_of_the_straight_run(tmp_path: Path) -> None:
    constant = SMALL["optimizer"] | {"schedule": "constant"}  # `half` is asked for fewer steps
    straight = fitted(tmp_path / "straight", precompute=True, optimizer=constant)
    method = probe(precompute=True, optimizer=constant)
    stop = trainer(tmp_path / "half", Reseed(), Checkpoints(), max_epochs=3, max_steps=14)
    stop.fit(method, datamodule=digits())
    again = probe(precompute=True, optimizer=constant)
    go_on = trainer(tmp_path / "rest", Reseed(), Checkpoints(), max_epochs=3)
    last = tmp_path / "half" / "checkpoints" / "last.ckpt"
    go_on.fit(again, datamodule=digits(), ckpt_path=last, weights_only=True)
    assert go_on.global_step == 30
    for name, value in straight.head.state_dict().items():
        assert torch.equal(again.head.state_dict()[name], value)


def test_batch_norm_makes_the_scale_of_the_features_irrelevant() -> None:
    image = torch.rand(32, 1, 8, 8)
    for batch_norm in (True, False):
        method = probe(batch_norm=batch_norm).train()
        torch.nn.init.normal_(method.head.weight)
        features = 1e4 * method(image)  # far above batch norm's eps
        same = torch.allclose(method._classify(3 * features), method._classify(features), atol=1e-2)
        assert same == batch_norm


def test_without_an_encoder_it_refuses() -> None:
    with pytest.raises(ValueError, match="pretrained=RUN"):
        probe(encoder=None)
    with pytest.raises(ValueError, match="num_classes"):
        probe(num_classes=1)


@pytest.mark.ddp
def test_probes_on_two_ranks_equal_one_process(two_ranks: TwoRanks) -> None:
    """701 training, 201 validation images; linear, precomputed and kNN; encoder bit-equal."""
    two_ranks.assert_same("tests.methods.programs_probes:probes", atol=1e-5)
