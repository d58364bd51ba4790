"""O-GAN: one step for two networks, codes, reconstructions."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab import checkpoints
from genlab.contracts import Batch
from genlab.data import Digits
from genlab.methods.ogan import OGAN
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer

NETWORKS: dict[str, Any] = {
    "image_size": 8, "latent_dim": 6, "generator": "mlp", "critic": "mlp",
    "generator_kwargs": {"hidden_dims": [24]}, "critic_kwargs": {"hidden_dims": [24]},
    "optimizer": {"name": "torch.rmsprop", "lr": 2e-3, "alpha": 0.99},
}  # fmt: skip


def small(**options: Any) -> OGAN:
    torch.manual_seed(1)
    return OGAN(**NETWORKS | options)


def test_one_loss_reaches_both_networks() -> None:
    method = small()
    batch: Batch = {"image": torch.rand(8, 1, 8, 8)}
    method.training_step(batch, 0)["loss"].backward()
    for name, p in method.named_parameters():
        assert p.grad is not None, name
        assert p.grad.any(), name


def test_the_distance_of_images_has_no_path_to_the_generator() -> None:
    """Else it would learn the real image in its place."""
    method, z = small(), torch.randn(8, 6)
    real = torch.rand(8, 1, 8, 8) * 2 - 1
    slopes = []
    for other in (real, real.flip(0)):
        loss = method.loss_of(other, z)["loss"]
        slopes.append(torch.autograd.grad(loss, list(method.generator.parameters())))
    for one, two in zip(*slopes, strict=True):
        torch.testing.assert_close(one, two)


def test_batch_norms_of_the_critic_count_each_image_once() -> None:
    """The generated images are seen twice, with a gradient and without."""
    method, z = small(critic_kwargs={"hidden_dims": [24], "norm": "batch"}), torch.randn(8, 6)
    alone = deepcopy(method.critic)
    real = torch.rand(8, 1, 8, 8) * 2 - 1
    method.loss_of(real, z)
    alone(real)
    alone(method.generator(z))
    for name, value in alone.named_buffers():
        torch.testing.assert_close(method.critic.get_buffer(name), value)


def test_codes_are_standardised_and_images_come_back_through_them() -> None:
    method, image = small().eval(), torch.rand(5, 1, 8, 8)
    code = method(image)
    assert torch.equal(code, method.encode(image))
    torch.testing.assert_close(code.mean(1), torch.zeros(5), atol=1e-6, rtol=0)
    torch.testing.assert_close(code.std(1, correction=0), torch.ones(5))
    torch.testing.assert_close(method.reconstruct(image), method.decode(0.9 * code))
    path = method.interpolate(image, image.flip(0), 4)
    assert path.shape == (5, 4, 1, 8, 8)
    torch.testing.assert_close(path[:, 0], method.reconstruct(image))


def test_it_learns_to_find_its_noise_again_and_loads(tmp_path: Path) -> None:
    method = small()
    data = Digits(batch_size=64, val_size=200, seed=3)
    run = trainer(tmp_path, Reseed(), Checkpoints(monitor=None), max_epochs=8)
    run.fit(method, datamodule=data)
    assert run.callback_metrics["val/correlation"] > 0.6
    again: Any = checkpoints.load(tmp_path / "checkpoints/last.ckpt")
    torch.manual_seed(4)
    image = method.eval().sample(20)
    torch.manual_seed(4)
    assert torch.equal(again.sample(20), image)
    assert image.shape == (20, 1, 8, 8)
    assert 0 <= image.min() < image.max() <= 1


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ValueError, match="latent_dim must be at least 3, got 2"):
        small(latent_dim=2)
    with pytest.raises(ValueError, match="unknown critic 'conv'"):
        small(critic="conv")
