"""Glow: its levels, its mixings, and its classes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.data import Digits
from genlab.evaluation import samples
from genlab.methods.glow import Glow
from genlab.networks.flows.invertible_conv import InvertibleConv
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer
from tests.methods.programs_flows import batch, moved, own_noise, small


def test_a_level_is_a_squeeze_steps_and_a_split_with_a_learned_prior() -> None:
    method = Glow(3, 32, scales=3, steps=2, width=4)
    found = Counter(type(m).__name__ for m in method.modules())
    assert found["Squeeze"] == 3
    assert found["FactorOut"] == 2
    assert found["ActNorm"] == found["InvertibleConv"] == found["HalfCoupling"] == 6
    assert all(m.prior is not None for m in method.modules() if type(m).__name__ == "FactorOut")
    mixed = [m.matrix().shape[0] for m in method.modules() if isinstance(m, InvertibleConv)]
    assert mixed == [12, 12, 24, 24, 48, 48]


@pytest.mark.parametrize("mixing", ["lu", "plain"])
def test_every_latent_depends_on_every_channel(mixing: str) -> None:
    method = moved("glow_plain", mixing=mixing, steps=3, scales=1).double().eval()
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: method.flow.layers(v)[0][0], x)
    block = jacobian.view(4, 4, 4, 8, 8)[:, 1, 1, 2:4, 2:4]  # latents of a 2 x 2 block of pixels
    assert (block != 0).all()


def test_a_known_class_is_used_and_an_unknown_one_is_summed_over() -> None:
    method = moved("glow").double().eval()
    method.cell_noise = own_noise
    image = batch(method)["image"].double()
    by_class = torch.stack([method.log_prob(image, torch.full((8,), k)) for k in range(10)], 1)
    expected = by_class.logsumexp(1) - torch.log(torch.tensor(10.0, dtype=torch.float64))
    torch.testing.assert_close(method.log_prob(image), expected)
    torch.testing.assert_close(method.log_prob(image, torch.full((8,), -1)), expected)
    label = torch.tensor([3, -1] * 4)
    mixed = method.log_prob(image, label)
    torch.testing.assert_close(mixed[0::2], by_class[0::2, 3])
    torch.testing.assert_close(mixed[1::2], expected[1::2])


def test_labels_are_given_in_training_and_not_needed_afterwards() -> None:
    method = moved("glow").eval()
    method.cell_noise = own_noise
    data = batch(method)
    given = method.training_step(data, 0)["loss"]
    torch.testing.assert_close(given, -method.log_prob(data["image"], data["label"]).mean())
    other = data | {"label": data["label"].flip(0)}
    assert not torch.equal(method.training_step(other, 0)["loss"], given)
    plain = small("glow", conditional=False).eval()
    plain.cell_noise = own_noise
    steps = [plain.training_step(d, 0)["loss"] for d in (data, other)]
    assert torch.equal(*steps)


def test_samples_of_a_class_are_taken_for_it_and_fill_rows() -> None:
    method = small("glow").eval()
    latents = method.flow.latents
    with torch.no_grad():
        latents.mean.copy_(3 * torch.randn(10, 64))
    z = latents.sample(20, torch.arange(20) % 10)
    assert latents.log_prob_by_class(z).argmax(1).tolist() == [k % 10 for k in range(20)]
    images, columns = samples(method, 30)
    assert len(images) == 30
    assert columns == 3
    assert samples(small("glow", conditional=False), 30)[1] is None


def test_bad_arguments_are_named() -> None:
    for options, words in (
        ({"mixing": "qr"}, "unknown mixing 'qr'; choose from lu, plain, shuffle"),
        ({"network": "vit"}, "unknown network 'vit'; choose from conv, mlp"),
        ({"scales": 6}, "scales 6: 32 pixels do not halve 6 times"),
        ({"steps": 0}, "steps must be at least 1"),
    ):
        with pytest.raises(ValueError, match=words):
            Glow(3, 32, **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [("glow", {"coupling": "affine"}), ("glow", {"coupling": "spline"}), ("nice", {}),
     ("realnvp", {})],
)  # fmt: skip
def test_a_trained_flow_inverts_in_float32(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """Latents back to pixels as the layers see them, to 1e-4; images exactly."""
    adam = {"name": "adam", "lr": 3e-3, "schedule": "cosine"}
    method = small(name, optimizer=adam, **options)
    data = Digits(batch_size=32, val_size=200, seed=0)
    fresh = {k: v.clone() for k, v in method.state_dict().items()}
    trainer(tmp_path, Reseed(), max_epochs=2, limit_val_batches=0).fit(method, datamodule=data)
    assert any(not torch.equal(v, fresh[k]) for k, v in method.state_dict().items())
    method.eval()
    image = next(data.to_device(b) for b in data.test_dataloader())["image"]
    y, _ = method.flow.pixels(image, torch.rand_like(image))
    with torch.no_grad():
        again, _ = method.flow.layers.inverse(method.flow.layers(y)[0])
        assert (again - y).abs().max() < 1e-4
        assert torch.equal((method.reconstruct(image) * 16).round(), (image * 16).round())
