"""CVAE-GAN: three optimisers, what each network learns from, class means, classes of samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from genlab import checkpoints
from genlab.data import Digits
from genlab.methods.cvae_gan import CVAEGAN, MEANS
from genlab.networks.gan.class_means import class_sums
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer
from tests.methods.programs_ssl import same_state

DENSE: dict[str, Any] = {"hidden_dims": [24]}
NETWORKS: dict[str, Any] = {
    "image_size": 8, "latent_dim": 4, "encoder": "mlp", **DENSE,
    "generator": "mlp", "critic": "mlp",
    "generator_kwargs": DENSE, "critic_kwargs": DENSE,
    "optimizer": {"name": "adam", "lr": 2e-3, "betas": [0.5, 0.9]},
}  # fmt: skip


def small(**options: Any) -> CVAEGAN:
    torch.manual_seed(1)
    return CVAEGAN(**NETWORKS | options)


def fit(method: CVAEGAN, folder: Path, *callbacks: L.Callback, **options: Any) -> L.Trainer:
    run = trainer(folder, Reseed(), *callbacks, **{"max_epochs": 1} | options)
    run.fit(method, datamodule=Digits(batch_size=16, limit=160, val_size=60, seed=3))
    return run


def batch(n: int = 9) -> tuple[torch.Tensor, ...]:
    return torch.rand(n, 1, 8, 8), torch.arange(n) % 3, torch.randn(n, 8)


def test_encoder_and_generator_count_and_the_others_step_as_often(tmp_path: Path) -> None:
    method = small()
    run = fit(method, tmp_path)
    assert run.global_step == 10
    steps = [{int(s["step"]) for s in o.state.values()} for o in run.optimizers]
    assert steps == [{10}, {10}, {10}]
    own = [{id(p) for g in o.param_groups for p in g["params"]} for o in run.optimizers]
    assert not own[0] & own[1] | own[0] & own[2] | own[1] & own[2]
    trained = {id(p) for p in method.parameters() if p.requires_grad}
    assert own[0] | own[1] | own[2] == trained


def test_the_classifier_never_learns_from_generated_images() -> None:
    """Its loss does not depend on the generator, and its step sees real images alone."""
    method, (image, label, _) = small(), batch()
    seen = list[torch.Tensor]()
    method.classifier.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    method.classifier_loss(image, label)["loss"].backward()
    assert len(seen) == 1
    assert torch.equal(seen[0], 2 * image - 1)
    assert all(p.grad is None for p in method.generator.parameters())


def test_each_step_leaves_the_other_networks_alone(tmp_path: Path) -> None:
    for rate, still in (("critic", "critic."), ("classifier", "classifier.")):
        method = small(optimizer=NETWORKS["optimizer"] | {"lr_scale": {rate: 1e-30}})
        before = {k: v.clone() for k, v in method.state_dict().items()}
        fit(method, tmp_path / rate, limit_val_batches=0)
        for name, value in method.named_parameters():
            if value.requires_grad:
                assert torch.equal(value, before[name]) == name.startswith(still), name


def test_pixels_are_compared_through_reconstruction_alone() -> None:
    """A sample has no image that it should be."""
    method, (image, label, noise) = small(critic_weight=0.0, class_weight=0.0), batch()
    other = torch.cat([noise[:, :4], torch.randn(9, 4)], 1)  # other samples, same reconstructions
    one, two = (method.coder_loss(image, label, n)["loss"] for n in (noise, other))
    assert torch.equal(one, two)


def test_the_weighted_terms_are_the_loss() -> None:
    weights = {"kl_weight": 2.0, "reconstruction_weight": 3.0}
    method = small(**weights, critic_weight=5.0, class_weight=7.0)
    image, label, noise = batch()
    sums = method.coder_loss(image, label, noise)
    for name in MEANS:
        getattr(method, name).update(sums[name])
    likeness, sample, kl = method.fakes(image, label, noise)
    real = 2 * image - 1
    loss = 2 * kl.mean() + 1.5 * (likeness - real).square().flatten(1).sum(1).mean()
    for network in (method.critic, method.classifier):
        apart = network.features(likeness) - network.features(real)
        loss = loss + 1.5 * apart.square().sum(1).mean()
    h_real, h_fake = method.critic.features(real), method.critic.features(sample)
    loss = loss + 2.5 * (h_real.mean(0) - h_fake.mean(0)).square().sum()
    c_real, c_fake = method.classifier.features(real), method.classifier.features(sample)
    for k in range(3):
        gap = c_real[label == k].mean(0) - c_fake[label == k].mean(0)
        loss = loss + 3.5 * gap.square().sum() / 3  # a third of the images
    torch.testing.assert_close(method.coder_loss(image, label, noise)["loss"], loss)


def test_only_their_own_steps_move_statistics_of_critic_and_classifier() -> None:
    """Fakes of the encoder's and generator's step would be in the classifier's batch norms."""
    method, given = small(critic_kwargs=DENSE | {"norm": "batch"}), batch()
    judges = {"critic": method.critic, "classifier": method.classifier}
    before = {k: {n: b.clone() for n, b in m.named_buffers()} for k, m in judges.items()}
    loss = method.coder_loss(*given)["loss"]
    for name, judge in judges.items():
        assert before[name]
        assert same_state(dict(judge.named_buffers()), before[name]) == []
    method.classifier_loss(*given[:2])
    assert same_state(dict(method.classifier.named_buffers()), before["classifier"]) != []
    torch.testing.assert_close(method.coder_loss(*given)["loss"], loss)  # they norm by the batch


def test_class_means_are_in_the_checkpoint(tmp_path: Path) -> None:
    method = small()
    fit(method, tmp_path, Checkpoints(monitor=None), limit_val_batches=0)
    assert all(method.get_buffer(f"{name}.sums").any() for name in MEANS)
    again: Any = checkpoints.load(tmp_path / "checkpoints/last.ckpt")
    assert same_state(again.state_dict(), method.state_dict()) == []
    torch.manual_seed(4)
    image = method.eval().sample(20)
    torch.manual_seed(4)
    assert torch.equal(again.sample(20), image)


def test_a_batch_in_parts_gives_the_same_loss_and_sums() -> None:
    method, (image, label, noise) = small(), batch()
    whole = method.coder_loss(image, label, noise)
    cuts = [slice(0, 5), slice(5, 9)]
    parts = [method.coder_loss(image[c], label[c], noise[c]) for c in cuts]
    for name, value in whole.items():
        torch.testing.assert_close(5 / 9 * parts[0][name] + 4 / 9 * parts[1][name], value)
    h = method.classifier.features(2 * image - 1).detach()
    torch.testing.assert_close(whole["class_real"], class_sums(h, label, 10))


def test_it_learns_classes_and_reconstructs(tmp_path: Path) -> None:
    method = small(kl_weight=0.3, class_weight=1.0)
    before = (method.eval().reconstruct(batch()[0], batch()[1]) - 0.5).square().mean()
    assert before.isfinite()
    run = fit(method.train(), tmp_path, max_epochs=40)
    assert run.callback_metrics["val/sample_accuracy"] > 0.6
    assert run.callback_metrics["val/mse"] < 0.06  # the mean image: 0.07


def test_its_verbs(tmp_path: Path) -> None:
    method, (image, label, _) = small().eval(), batch()
    assert method(image).shape == (9, 4)
    assert torch.equal(method(image), method(image, method.classify(image)))
    assert method.reconstruct(image).shape == image.shape
    assert method.swap_styles(image, label).shape == (9, 10, 1, 8, 8)
    assert method.interpolate(image, image.flip(0), 3, label).shape == (9, 3, 1, 8, 8)
    torch.manual_seed(2)
    turn = method.sample(20)
    torch.manual_seed(2)
    assert torch.equal(method.sample(20, torch.arange(20) % 10), turn)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kl_weight": -1.0}, "kl_weight must be 0 or more, got -1"),
        ({"latent_dim": 0}, "latent_dim must be at least 1, got 0"),
        ({"accumulate_grad_batches": 0}, "accumulate_grad_batches must be at least 1"),
        ({"means_decay": 1.0}, "decay must be in"),
        ({"critic": "conv"}, "unknown critic 'conv'"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small(**options)


def test_labels_are_required() -> None:
    image, label, _ = batch()
    with pytest.raises(ValueError, match="CVAEGAN requires labels from 0 to 9"):
        small().validation_step({"image": image, "label": label - 1}, 0)
