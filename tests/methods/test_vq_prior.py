"""What must be true of the prior over codes: its tokenizer, its checkpoint, its samples."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters_context
from torch import Tensor

from genlab import checkpoints
from genlab.contracts import Batch
from genlab.methods.vq_prior import VQPrior
from genlab.methods.vqvae import VQVAE
from genlab.networks.autoencoders.tokenizers import CodeCache

VQ: dict[str, Any] = {
    "channels": 1,
    "image_size": 8,
    "num_codes": 16,
    "code_dim": 4,
    "hidden": 16,
    "downsamplings": 1,
    "residual_blocks": 1,
}
TINY: dict[str, Any] = {"width": 16, "depth": 2, "num_classes": 3, "optimizer": {"lr": 1e-2}}
NETWORKS = ["pixelcnn", "transformer"]


def batch(n: int = 6) -> Batch:
    index = torch.arange(n)
    return {"image": torch.rand(n, 1, 8, 8), "label": index % 3, "index": index}


class Batches(list[Batch]):
    """A loader of ready batches."""


def fit(folder: Path, method: L.LightningModule, batches: list[Batch]) -> L.Trainer:
    run = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    run.fit(method, Batches(batches), Batches(batches[:1]))
    return run


def save(run: L.Trainer, method: L.LightningModule, file: Path) -> str:
    """A checkpoint that names its class, as the checkpoint callback's do."""
    run.save_checkpoint(file)
    content = torch.load(file, weights_only=True)
    kind = type(method)
    content["genlab"] = {"class_path": f"{kind.__module__}.{kind.__qualname__}"}
    torch.save(content, file)
    return str(file)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("vqvae")
    torch.manual_seed(0)
    method = VQVAE(**VQ)
    return save(fit(folder, method, [batch(), batch()]), method, folder / "vqvae.ckpt")


def bits(module: torch.nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in module.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())


@pytest.mark.parametrize("network", NETWORKS)
def test_training_leaves_the_tokenizer_bit_equal(
    tokenizer: str, network: str, tmp_path: Path
) -> None:
    method = VQPrior(tokenizer, network=network, class_conditional=True, **TINY)
    assert same(bits(method.tokenizer), bits(checkpoints.load(tokenizer)))
    tokens, prior = bits(method.tokenizer), bits(method.prior)
    run = fit(tmp_path, method, [batch() for _ in range(4)])
    assert same(bits(method.tokenizer), tokens)
    assert not same(bits(method.prior), prior)
    assert not method.tokenizer.training
    trained = {id(p) for g in run.optimizers[0].param_groups for p in g["params"]}
    assert trained == {id(p) for p in method.prior.parameters()}


@pytest.mark.parametrize("network", NETWORKS)
def test_its_checkpoint_needs_no_other_file(tokenizer: str, network: str, tmp_path: Path) -> None:
    method = VQPrior(tokenizer, network=network, class_conditional=True, **TINY)
    file = save(fit(tmp_path, method, [batch()]), method, tmp_path / "prior.ckpt")
    content = torch.load(file, weights_only=True)
    assert content["hyper_parameters"]["tokenizer"] is None
    loaded = checkpoints.load(file)
    assert isinstance(loaded, VQPrior)
    assert same(bits(loaded), bits(method))
    assert loaded.hparams["tokenizer_spec"] == checkpoints.spec(checkpoints.load(tokenizer))
    again = VQPrior(**loaded.hparams)
    again.load_state_dict(loaded.state_dict())
    draws = []
    for prior in (method.eval(), loaded, again.eval()):
        torch.manual_seed(3)
        draws.append(prior.sample(4, torch.tensor([0, 1, 2, -1])))
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(draws[0], draws[2])


def test_under_the_command_line_each_model_keeps_its_own_arguments(tokenizer: str) -> None:
    """Lightning's CLI hands one dictionary to all models built while it makes the outer one."""
    given = {"tokenizer": tokenizer, "network": "pixelcnn", "_class_path": "genlab.methods.VQPrior"}
    with _given_hyperparameters_context(given, "lightning.pytorch.cli.instantiate_module"):
        method = VQPrior(tokenizer, network="pixelcnn")
    expected = checkpoints.spec(checkpoints.load(tokenizer))
    assert checkpoints.spec(method.tokenizer) == expected
    assert method.hparams["tokenizer"] is None
    assert method.hparams["tokenizer_spec"] == expected
    assert method.hparams["network"] == "pixelcnn"


def test_the_loss_is_the_nats_of_the_codes(tokenizer: str) -> None:
    method = VQPrior(tokenizer, class_conditional=True, label_dropout=0.0, **TINY)
    data = batch()
    codes = method.tokenizer.encode(data["image"])
    loss = method.training_step(data, 0)["loss"]
    torch.testing.assert_close(loss, -method.log_prob(codes, data["label"]).mean())
    given: dict[str, Any] = dict(data)
    twice: Any = {k: torch.cat([v, v]) for k, v in given.items()}
    torch.testing.assert_close(method.training_step(twice, 0)["loss"], loss)


def test_a_uniform_prior_costs_log2_k_bits_per_code(tokenizer: str, tmp_path: Path) -> None:
    method = VQPrior(tokenizer, **TINY)
    for p in method.prior.head.parameters():
        torch.nn.init.zeros_(p)
    run = L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path
    )
    (figures,) = run.validate(method, Batches([batch()]), verbose=False)
    assert figures["val/bits_per_code"] == pytest.approx(4.0)
    assert figures["val/loss"] == pytest.approx(16 * 4 * math.log(2))


@pytest.mark.parametrize("network", NETWORKS)
def test_learns_codes_by_class(tokenizer: str, network: str, tmp_path: Path) -> None:
    """One image a class: the loss falls to almost nothing and samples are those images."""
    settings = TINY | {"optimizer": {"lr": 3e-2, "schedule": "cosine"}}
    method = VQPrior(
        tokenizer, network=network, class_conditional=True, label_dropout=0.0, **settings
    )
    data = batch(3)
    codes = method.tokenizer.encode(data["image"])
    fit(tmp_path, method, [data] * 60)
    method.eval()
    assert -method.log_prob(codes, data["label"]).mean() < 0.3
    label = torch.arange(3).repeat(20)
    drawn = method.sample_codes(60, label)
    assert (drawn == codes[label]).flatten(1).all(1).float().mean() > 0.8
    assert torch.equal(method.sample(3, label[:3], 0.01), method.tokenizer.decode(codes))


def test_labels_of_an_unconditional_prior_change_nothing(tokenizer: str, tmp_path: Path) -> None:
    data = batch()
    other = data | {"label": torch.full((6,), -1)}
    results = []
    for one in (data, other):
        torch.manual_seed(0)
        method = VQPrior(tokenizer, **TINY)
        fit(tmp_path, method, [one])
        results.append(bits(method))
    assert same(*results)


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
def test_samples(tokenizer: str, network: str, conditional: bool) -> None:
    method = VQPrior(tokenizer, network=network, class_conditional=conditional, **TINY).eval()
    for label in (None, torch.tensor([0, 1, 2, -1, -1])):
        image = method.sample(5, label, temperature=0.7)
        assert image.shape == (5, 1, 8, 8)
        assert 0 <= image.min() <= image.max() <= 1
    assert method.sample_codes(5).shape == (5, 4, 4)
    assert method(torch.rand(2, 1, 8, 8)).shape == (2, 4)


def test_hidden_labels_train_the_unknown_class(tokenizer: str, tmp_path: Path) -> None:
    method = VQPrior(tokenizer, class_conditional=True, label_dropout=0.5, **TINY)
    before = method.prior.label.weight[-1].clone()
    fit(tmp_path, method, [batch()])
    assert not torch.equal(method.prior.label.weight[-1], before)


def test_the_cache_encodes_each_image_once_and_notices_other_pixels() -> None:
    calls: list[int] = []

    def encode(image: Tensor) -> Tensor:
        calls.append(len(image))
        return (image[:, 0, :2, :2] * 100).long()

    cache, image = CodeCache(), torch.rand(10, 1, 8, 8)
    for _ in range(3):
        for index in torch.randperm(10).split(5):
            assert torch.equal(cache(image[index], index, encode), encode(image[index]))
    cached = len(calls)
    index = torch.tensor([7, 3])
    assert torch.equal(cache(image[index], index, encode), (image[index, 0, :2, :2] * 100).long())
    assert len(calls) == cached  # both had been seen
    flipped = image[index].flip(3)
    assert torch.equal(cache(flipped, index, encode), encode(flipped))
    assert len(calls) == cached + 2


@pytest.mark.parametrize("cache_codes", [True, False])
def test_the_tokenizer_runs_once_an_image(tokenizer: str, cache_codes: bool) -> None:
    method = VQPrior(tokenizer, cache_codes=cache_codes, **TINY)
    data, calls = batch(), []
    method.tokenizer.encoder.register_forward_hook(lambda *_: calls.append(1))
    losses = [method.training_step(data, 0)["loss"] for _ in range(3)]
    assert len(calls) == (1 if cache_codes else 3)
    assert losses[0] == losses[1] == losses[2]


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"network": "magic"}, "pixelcnn, transformer"),
        ({"label_dropout": 1.0}, "label_dropout"),
        ({"heads": 3}, "multiple of heads"),
        ({"tokenizer": None}, "give the checkpoint or run of a VQ-VAE"),
        ({"tokenizer": "no/such.ckpt"}, "no/such.ckpt"),
    ],
)
def test_refuses(tokenizer: str, bad: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        VQPrior(**(TINY | {"tokenizer": tokenizer} | bad))


def test_refuses_a_checkpoint_of_something_else(tokenizer: str, tmp_path: Path) -> None:
    prior = VQPrior(tokenizer, **TINY)
    file = save(fit(tmp_path, prior, [batch()]), prior, tmp_path / "prior.ckpt")
    with pytest.raises(ValueError, match="is a VQPrior, not a VQ-VAE"):
        VQPrior(file)


def test_refuses_a_negative_temperature(tokenizer: str) -> None:
    with pytest.raises(ValueError, match="temperature"):
        VQPrior(tokenizer, **TINY).sample(2, temperature=0.0)
