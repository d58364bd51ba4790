"""What must be true of the VQGAN: its terms, its adaptive weight, its critic's start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import torch.nn.functional as F

from genlab import checkpoints
from genlab.contracts import Batch
from genlab.losses.perceptual import LARGEST, adaptive_weight, feature_distance
from genlab.methods.vqgan import VQGAN
from genlab.networks.autoencoders.tokenizers import Tokenizer

TINY: dict[str, Any] = {
    "channels": 1, "image_size": 8, "num_codes": 16, "code_dim": 4, "hidden": 16,
    "downsamplings": 1, "residual_blocks": 1, "critic_kwargs": {"width": 8},
    "optimizer": {"lr": 1e-3},
}  # fmt: skip
SEEN: dict[str, Any] = {"perceptual": "small_cnn"}


def batch(n: int = 6) -> Batch:
    index = torch.arange(n)
    return {"image": torch.rand(n, 1, 8, 8), "label": index % 3, "index": index}


class Batches(list[Batch]):
    """A loader of ready batches."""


def fit(folder: Path, method: L.LightningModule, steps: int, **kwargs: Any) -> L.Trainer:
    run = L.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, **kwargs,
    )  # fmt: skip
    run.fit(method, Batches([batch() for _ in range(steps)]), Batches([batch()]))
    return run


@pytest.mark.parametrize("kind", [{}, SEEN, {"codebook": "fsq", "levels": [4, 4]}])
def test_the_loss_is_its_terms_and_every_parameter_gets_a_gradient(kind: dict[str, Any]) -> None:
    method = VQGAN(**(TINY | kind))
    found = method.training_step(batch(), 0)
    inner = ("loss_generator", "loss_critic")
    parts = [v for k, v in found.items() if k.startswith("loss_") and k not in inner]
    total = sum(parts) + found["critic_weight"] * found["loss_generator"] + found["loss_critic"]
    torch.testing.assert_close(found["loss"], total)
    found["loss"].backward()
    trained = {n: p for n, p in method.named_parameters() if not n.startswith("perceptual.")}
    assert not [n for n, p in trained.items() if p.grad is None or not p.grad.any()]
    assert all(p.grad is None for n, p in method.named_parameters() if n not in trained)


def test_the_reconstruction_is_absolute_error_and_distance_of_features() -> None:
    method, image = VQGAN(**TINY, **SEEN, perceptual_weight=0.5).eval(), batch()["image"]
    found = method.validation_step({"image": image}, 0)
    shown = method.decoder(method.quantizer.embed(method.encode(image))).detach()
    distance = feature_distance(method._maps(shown), method._maps(image))
    slow = [float((a - b).abs().sum() + 0.5 * 64 * d)
            for a, b, d in zip(shown, image, distance, strict=True)]  # fmt: skip
    assert found["reconstruction"].item() == pytest.approx(sum(slow) / 6, rel=1e-5)
    assert found["perceptual_small_cnn"].item() == pytest.approx(float(distance.mean()), rel=1e-5)
    assert "critic_weight" not in found  # no gradient, no weight


def test_distance_of_features_by_hand() -> None:
    a, b = torch.randn(2, 3, 5, 4, 4), torch.randn(2, 3, 5, 2, 2)
    maps, others = [a[0], b[0]], [a[1], b[1]]
    each = []
    for x, y in zip(maps, others, strict=True):
        unit = [v / v.square().sum(1, keepdim=True).sqrt() for v in (x, y)]
        each.append(((unit[0] - unit[1]) ** 2).sum(1).mean((1, 2)))
    torch.testing.assert_close(feature_distance(maps, others), (each[0] + each[1]) / 2)
    assert feature_distance(maps, maps).abs().max() < 1e-6
    opposite = [-x for x in maps]
    torch.testing.assert_close(feature_distance(maps, opposite), torch.full((3,), 4.0))
    tokens = [x.flatten(2).transpose(1, 2) for x in maps]
    other_tokens = [x.flatten(2).transpose(1, 2) for x in others]
    torch.testing.assert_close(feature_distance(tokens, other_tokens), (each[0] + each[1]) / 2)


def test_the_adaptive_weight_is_the_ratio_of_norms_at_the_last_layer() -> None:
    method, image = VQGAN(**TINY, adversarial_weight=0.8), batch()["image"]
    torch.manual_seed(4)
    found = method.training_step({"image": image}, 0)
    torch.manual_seed(4)
    shown, _, terms, _ = method._terms(image)
    last: Any = method.decoder.layers[-1].weight
    assert shown.shape[1] == last.shape[1]  # its output is the image
    losses = terms["reconstruction"].mean(), -method.critic(2 * shown - 1).mean()
    norms = [torch.autograd.grad(one, last, retain_graph=True)[0].norm() for one in losses]
    expected = 0.8 * norms[0] / (norms[1] + 1e-4)
    assert found["critic_weight"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_adaptive_weight_of_a_dead_critic_is_bounded() -> None:
    last = torch.ones(4, 3, requires_grad=True)
    shown = torch.randn(5, 4) @ last
    weight = adaptive_weight(1e6 * shown.square().sum(), 0 * shown.sum(), last)
    assert weight == LARGEST
    assert not weight.requires_grad


@pytest.mark.ddp
def test_the_adaptive_weight_is_that_of_all_ranks(two_ranks: Any) -> None:
    two_ranks.assert_same("tests.methods.programs_vqgan:ratio", atol=1e-6)


@pytest.mark.ddp
def test_two_ranks_equal_one_process(two_ranks: Any) -> None:
    two_ranks.assert_same("tests.methods.programs_vqgan:three_steps", atol=2e-4)


def test_the_critic_moves_from_the_first_step_and_its_term_opens_by_a_ramp(tmp_path: Path) -> None:
    """The start counts batches: two optimisers that both count would halve it."""
    method = VQGAN(**TINY, adversarial_start=4, adversarial_ramp=3)
    before = {n: p.clone() for n, p in method.critic.named_parameters()}
    seen, step = list[tuple[int, float, float]](), method.training_step

    def watched(given: Batch, batch_idx: int) -> dict[str, torch.Tensor]:
        found = step(given, batch_idx)
        seen.append((method.global_step, method.opening(), float(found["critic_weight"].detach())))
        return found

    method.training_step = watched  # type: ignore[method-assign, assignment]
    run = fit(tmp_path, method, 10)
    assert [one[0] for one in seen] == list(range(10))
    assert run.global_step == 10
    assert [one[1] for one in seen] == [0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert all((weight > 0) == (opening > 0) for _, opening, weight in seen)
    assert all(not torch.equal(p, before[n]) for n, p in method.critic.named_parameters())


def test_before_its_start_the_critic_does_not_touch_the_autoencoder() -> None:
    gradients = []
    image = batch()["image"]
    for weight in (0.0, 5.0):
        torch.manual_seed(0)
        method = VQGAN(**TINY, adversarial_weight=weight, adversarial_start=9)
        torch.manual_seed(1)
        method.training_step({"image": image}, 0)["loss"].backward()
        gradients.append([p.grad.clone() for p in method.decoder.parameters()])  # type: ignore[union-attr]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_the_generators_term_leaves_the_critic_and_the_critics_the_autoencoder() -> None:
    torch.manual_seed(0)
    method, image = VQGAN(**TINY).eval(), batch()["image"]
    found = method.training_step({"image": image}, 0)
    critic = list(method.critic.parameters())
    with_loss = torch.autograd.grad(found["loss"], critic, retain_graph=True)
    alone = torch.autograd.grad(found["loss_critic"], critic, retain_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(with_loss, alone, strict=True))
    decoder = list(method.decoder.parameters())
    none = torch.autograd.grad(found["loss_critic"], decoder, allow_unused=True)
    assert all(one is None for one in none)


def test_critic_loss_is_half_the_hinge_of_all_patches() -> None:
    method, image = VQGAN(**TINY).eval(), batch()["image"]
    found = method.training_step({"image": image}, 0)
    real = method.critic(2 * image - 1)
    fake = method.critic(2 * method._terms(image)[0] - 1)
    assert real.shape == (6, 1, 2, 2)
    slow = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
    assert found["loss_critic"].item() == pytest.approx(slow.item(), rel=1e-5)
    assert found["loss_generator"].item() == pytest.approx(-fake.mean().item(), rel=1e-4, abs=1e-6)


def test_it_is_a_tokenizer_and_its_verbs_agree(tmp_path: Path) -> None:
    method = VQGAN(**TINY, **SEEN)
    fit(tmp_path, method, 2)
    method.eval()
    image = batch()["image"]
    assert isinstance(method, Tokenizer)
    codes = method.encode(image)
    assert codes.shape == (6, 4, 4)
    assert torch.equal(method.decode(codes), method.reconstruct(image))
    assert torch.equal(method.image_of(method.latents(image)), method.reconstruct(image))
    assert 0 <= method.reconstruct(image).min() <= method.reconstruct(image).max() <= 1
    again = checkpoints.build(checkpoints.spec(method))
    again.load_state_dict(method.state_dict())
    same: Any = again.eval()
    assert torch.equal(same.encode(image), codes)
    assert not method.train().perceptual.training  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"adversarial_weight": -1.0}, "^adversarial_weight -1.0 must be >= 0"),
        ({"adversarial_start": -1}, "^adversarial_start -1 must be >= 0"),
        ({"adversarial_ramp": -2}, "^adversarial_ramp -2 must be >= 0"),
        ({"perceptual_weight": -0.5}, "^perceptual_weight -0.5 must be >= 0"),
        ({"commitment_weight": -0.5}, "^commitment_weight -0.5 must be >= 0"),
        ({"codebook": "gumbel"}, "codebook 'gumbel' requires VQVAE"),
        ({"levels": [4, 4]}, "requires codebook 'fsq', not 'ema'"),
        ({"stages": 5}, "^stages 5 requires codebook 'residual'"),
        ({"codebook": "magic"}, "unknown codebook"),
        ({"critic_kwargs": {"norm": "batch"}}, "batch norm makes scores depend"),
        ({"critic_kwargs": {"layers": 3}}, "32 px or more"),
        ({"critic_kwargs": {"deep": 3}}, "deep"),
        ({"perceptual": "small_cn"}, "small_cn"),
    ],
)
def test_refuses(bad: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        VQGAN(**(TINY | bad))
