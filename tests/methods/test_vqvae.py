"""What must be true of the VQ-VAE, whatever the code looks like."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from genlab import checkpoints
from genlab.contracts import Batch
from genlab.methods.vqvae import VQVAE

TINY: dict[str, Any] = {
    "channels": 1,
    "image_size": 8,
    "num_codes": 16,
    "code_dim": 4,
    "hidden": 16,
    "downsamplings": 1,
    "residual_blocks": 1,
    "optimizer": {"lr": 1e-3},
}
KINDS = [
    {"codebook": "ema"},
    {"codebook": "gradient"},
    {"codebook": "gumbel", "gumbel": {"temperature": 0.9}},
    {"likelihood": "bernoulli"},
    {"codebook": "fsq", "levels": [4, 3]},
    {"codebook": "lfq"},
    {"codebook": "residual", "stages": 2},
    {"codebook": "sim"},
]


def batch(n: int = 6, channels: int = 1, size: int = 8) -> Batch:
    return {
        "image": torch.rand(n, channels, size, size),
        "label": torch.arange(n) % 3,
        "index": torch.arange(n),
    }


class Batches:
    """A loader of ready batches."""

    def __init__(self, content: list[Batch]) -> None:
        self.content = content

    def __iter__(self) -> Any:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)


def trainer(folder: Path, **kwargs: Any) -> L.Trainer:
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    where: dict[str, Any] = {
        "accelerator": "cpu",
        "default_root_dir": folder,
        "enable_checkpointing": False,
    }
    return L.Trainer(**(quiet | where | kwargs))


def fit(folder: Path, method: L.LightningModule, batches: list[Batch], **kwargs: Any) -> L.Trainer:
    """Train on ready batches, in order."""
    resumed = {"ckpt_path": kwargs.pop("ckpt_path", None)}
    run = trainer(folder, **({"max_epochs": 1, "limit_val_batches": 1} | kwargs))
    run.fit(method, Batches(batches), Batches(batches[:1]), **resumed)
    return run


@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_the_sum_of_its_parts(kind: dict[str, Any]) -> None:
    out = VQVAE(**(TINY | kind)).training_step(batch(), 0)
    parts = sum(v for k, v in out.items() if k.startswith("loss_"))
    torch.testing.assert_close(out["loss"], parts)
    assert all(value.ndim == 0 for value in out.values())
    assert 1 <= out["perplexity"] <= 16.001


def test_terms_are_sums_over_data_and_means_over_the_batch() -> None:
    method = VQVAE(**TINY, pixel_variance=0.5, commitment_weight=0.3).eval()
    image = batch(3)["image"]
    out = method.training_step({"image": image}, 0)
    z = method.encoder(image).detach()
    e = method.quantizer.embed(method.quantizer(z).codes)
    x = method.decoder(e).detach()
    slow = [float(((a - b) ** 2).sum() / 0.5) for a, b in zip(x, image, strict=True)]
    assert out["loss_reconstruction"].item() == pytest.approx(sum(slow) / 3, rel=1e-5)
    slow = [0.3 * float(((a - b) ** 2).sum()) for a, b in zip(z, e, strict=True)]
    assert out["loss_commitment"].item() == pytest.approx(sum(slow) / 3, rel=1e-4)


def test_beta_multiplies_the_commitment_only() -> None:
    data, out = batch(), {}
    for beta in (0.25, 2.0):
        torch.manual_seed(0)
        method = VQVAE(**(TINY | {"codebook": "gradient"}), commitment_weight=beta).eval()
        out[beta] = method.training_step(data, 0)
    torch.testing.assert_close(out[2.0]["loss_commitment"], 8 * out[0.25]["loss_commitment"])
    for name in ("loss_codebook", "loss_reconstruction"):
        assert torch.equal(out[2.0][name], out[0.25][name])


@pytest.mark.parametrize("kind", KINDS)
def test_a_repeated_or_permuted_batch_has_the_same_loss(kind: dict[str, Any]) -> None:
    method = VQVAE(**(TINY | kind)).eval()
    image = batch()["image"]
    once = method.training_step({"image": image}, 0)
    for other in (image.repeat(3, 1, 1, 1), image.flip(0)):
        again = method.training_step({"image": other}, 0)
        torch.testing.assert_close(again, once, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_receives_a_gradient(kind: dict[str, Any]) -> None:
    method = VQVAE(**(TINY | kind))
    method.training_step(batch(), 0)["loss"].backward()
    missing = [k for k, p in method.named_parameters() if p.grad is None or not p.grad.any()]
    assert not missing


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("channels", "size", "downsamplings"), [(3, 16, 2), (1, 7, 1), (2, 8, 0)])
def test_verbs(kind: dict[str, Any], channels: int, size: int, downsamplings: int) -> None:
    sizes = {"channels": channels, "image_size": size, "downsamplings": downsamplings}
    method = VQVAE(**(TINY | kind | sizes)).eval()
    image = batch(2, channels, size)["image"]
    codes = method.encode(image)
    assert codes.shape == (2, *method.code_shape)
    assert codes.dtype == torch.int64
    assert codes.max() < method.num_codes
    assert torch.equal(method.decode(codes), method.reconstruct(image))
    assert method.reconstruct(image).shape == image.shape
    assert 0 <= method.reconstruct(image).min() <= method.reconstruct(image).max() <= 1
    assert method(image).shape == (2, method.quantizer.code_dim)
    assert not method.reconstruct(image).requires_grad


def test_features_carry_a_gradient() -> None:
    """Fine-tuning goes through forward."""
    assert VQVAE(**TINY)(batch()["image"]).requires_grad


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_codebook_moves_once_per_optimiser_step(tmp_path: Path, accumulate: int) -> None:
    method = VQVAE(**TINY, ema_decay=0.9, restart_below=0.0)
    fit(tmp_path, method, [batch() for _ in range(6)], accumulate_grad_batches=accumulate)
    # the counts' sum after n steps from K: K .9^n + (1 - .9^n) * vectors per step
    n, vectors = 6 // accumulate, accumulate * 6 * 16
    expected = 16 * 0.9**n + (1 - 0.9**n) * vectors
    assert float(method.state_dict()["quantizer.cluster_size"].sum()) == pytest.approx(
        expected, rel=1e-5
    )


def test_gumbel_anneals_by_optimiser_step(tmp_path: Path) -> None:
    method = VQVAE(**(TINY | {"codebook": "gumbel"}))
    fit(tmp_path, method, [batch() for _ in range(6)], accumulate_grad_batches=2)
    assert method.quantizer.step == 3


def test_validation_reports_the_whole_epoch(tmp_path: Path) -> None:
    method = VQVAE(**TINY)
    batches = [batch(4) for _ in range(5)]
    run = trainer(tmp_path)
    method.training_step(batch(), 0)  # initialised: codes differ
    (figures,) = run.validate(method, Batches(batches), verbose=False)
    method.eval()
    images = torch.cat([b["image"] for b in batches])
    codes = method.encode(images)
    p = torch.bincount(codes.flatten(), minlength=16) / codes.numel()
    expected = {
        "val/perplexity": float(torch.exp(torch.special.entr(p).sum())),
        "val/codebook_usage": float((p > 0).float().mean()),
        "val/mse": float((method.reconstruct(images) - images).square().mean()),
    }
    assert {k: figures[k] for k in expected} == pytest.approx(expected, rel=1e-4)
    assert set(figures) == {*expected, "val/loss", "val/reconstruction"}
    (tested,) = run.test(method, Batches(batches), verbose=False)
    assert tested["test/perplexity"] == pytest.approx(figures["val/perplexity"])


def test_checkpoint_holds_the_codebook_and_its_averages(tmp_path: Path) -> None:
    method = VQVAE(**TINY)
    run = fit(tmp_path, method, [batch() for _ in range(3)], max_epochs=2)
    run.save_checkpoint(tmp_path / "a.ckpt")
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    again = checkpoints.build(checkpoints.spec(method))
    again.load_state_dict(content["state_dict"])
    state = again.state_dict()
    for name in ("codebook", "cluster_size", "embed_avg", "initialised"):
        saved = content["state_dict"][f"quantizer.{name}"]
        assert torch.equal(state[f"quantizer.{name}"], saved)
    assert not torch.equal(state["quantizer.cluster_size"], torch.ones(16))
    assert state["quantizer.initialised"]


def test_resumed_equals_straight(tmp_path: Path) -> None:
    """Counts, averages, flag and optimiser continue bit for bit (no randomness: no restarts)."""
    batches = [batch() for _ in range(4)]

    def fresh() -> VQVAE:
        torch.manual_seed(5)
        method = VQVAE(**TINY, restart_below=0.0)
        torch.manual_seed(6)  # the codebook's start is drawn from the first batch
        return method

    straight = fresh()
    fit(tmp_path, straight, batches, max_epochs=3)
    first = fit(tmp_path, fresh(), batches)
    first.save_checkpoint(tmp_path / "mid.ckpt")
    resumed = fresh()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*reloading a dataloader.*")
        fit(tmp_path, resumed, batches, max_epochs=3, ckpt_path=tmp_path / "mid.ckpt")
    states = straight.state_dict(), resumed.state_dict()
    assert all(torch.equal(v, states[1][k]) for k, v in states[0].items())


def test_learns_four_patterns_with_four_codes(tmp_path: Path) -> None:
    """Four constant images: each gets a code of its own and is reconstructed."""
    shades = torch.tensor([0.0, 0.33, 0.67, 1.0])
    image = shades.repeat(8)[:, None, None, None].expand(32, 1, 8, 8).contiguous()
    method = VQVAE(**(TINY | {"downsamplings": 2, "optimizer": {"lr": 1e-2}}), ema_decay=0.8)
    one: Batch = {"image": image, "label": torch.zeros(32), "index": torch.arange(32)}
    fit(tmp_path, method, [one] * 80)
    method.eval()
    assert (method.reconstruct(image) - image).square().mean() < 1e-3
    assert len(method.encode(image)[:4].flatten(1).unique(dim=0)) == 4


@pytest.mark.ddp
def test_two_ranks_equal_one_process(two_ranks: Any) -> None:
    """Loss, weights, codebook and restarted codes after three steps of two micro-batches."""
    two_ranks.assert_same("tests.methods.programs_vqvae:three_steps", atol=1e-5)


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"codebook": "magic"}, "ema, gradient, gumbel, fsq, lfq, residual, sim"),
        ({"codebook": "fsq", "num_codes": 100}, "levels"),
        ({"codebook": "fsq", "levels": [8, 1]}, r"levels \[8, 1\] must be .* each at least 2"),
        ({"codebook": "fsq", "levels": []}, r"levels \[\] must be one number or more"),
        ({"codebook": "fsq", "levels": [64] * 4}, r"levels .* 16,777,216 codes, at most 1,048,576"),
        ({"codebook": "fsq", "levels": [2] * 63}, "levels .* make more than 4,611,686,018,427"),
        ({"codebook": "lfq", "num_codes": 100}, "power of 2"),
        ({"codebook": "lfq", "lfq": {"divers": 2.0}}, "divers"),
        ({"codebook": "lfq", "lfq": {"diversity": -1.0}}, "^diversity -1.0 must be >= 0"),
        ({"codebook": "lfq", "lfq": {"factor": 0.0}}, "^factor 0.0 must be > 0"),
        ({"codebook": "residual", "stages": 0}, "stages"),
        ({"levels": [8, 5, 5, 5]}, r"^levels \[8, 5, 5, 5\] requires codebook 'fsq', not 'ema'"),
        ({"stages": 5}, "^stages 5 requires codebook 'residual', not 'ema'"),
        ({"stages": 0, "codebook": "sim"}, "^stages 0 requires codebook 'residual', not 'sim'"),
        ({"lfq": {"nonsense": 1}}, "^lfq .* requires codebook 'lfq', not 'ema'"),
        ({"gumbel": {"hard": True}, "codebook": "lfq"}, "^gumbel .* requires codebook 'gumbel'"),
        ({"commitment_weight": -1.0}, "^commitment_weight -1.0 must be >= 0"),
        ({"kl_weight": -1.0}, "^kl_weight -1.0 must be >= 0"),
        ({"likelihood": "magic"}, "mse, bernoulli"),
        ({"num_codes": 1}, "num_codes"),
        ({"code_dim": 0}, "code_dim"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"pixel_variance": 0.0}, "^pixel_variance 0.0 must be > 0"),
        ({"downsamplings": 5}, "halved"),
    ],
)
def test_refuses(bad: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        VQVAE(**(TINY | bad))
