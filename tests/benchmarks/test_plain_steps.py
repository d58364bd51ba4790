"""Steps of the generative methods against the same networks written out in plain PyTorch.

Both sides share one set of networks, take the same batch and use an optimiser of the same kind;
only what lies between batch and loss is written twice.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.methods.glow import Glow
from genlab.methods.vae import VAE
from genlab.methods.vq_prior import VQPrior
from genlab.methods.vqvae import VQVAE
from genlab.networks.flows.actnorm import ActNorm
from genlab.networks.flows.bijections import Chain, FactorOut, Reshape, Squeeze
from genlab.networks.flows.couplings import LOG_SCALE, HalfCoupling
from genlab.networks.flows.invertible_conv import InvertibleConv
from tests.benchmarks.timing import compare

pytestmark = pytest.mark.benchmarks
GOAL = 1.05


def digits(n: int, side: int = 28) -> dict[str, Any]:
    """A batch of strokes on black."""
    torch.manual_seed(0)
    image = (torch.rand(n, 1, side, side) < 0.2).float()
    return {"image": image, "label": torch.arange(n) % 10, "index": torch.arange(n)}


def race(
    name: str,
    method: Any,
    plain: Callable[[Any, dict[str, Any]], Tensor],
    batch: dict[str, Any],
    rounds: int,
    after: tuple[Callable[[Any], object], Callable[[Any], object]] | None = None,
) -> None:
    """Train two copies in turns, one by its method and one by ``plain``, and compare."""
    method.train().training_step(batch, 0)  # what starts from data starts
    mine, theirs = method, copy.deepcopy(method)
    steps: list[Callable[[], Tensor]] = []
    for model, loss_of in (
        (theirs, lambda: plain(theirs, batch)),
        (mine, lambda: mine.training_step(batch, 0)["loss"]),
    ):
        weights = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(weights, lr=1e-4)

        def step(model: Any = model, optimizer: Any = optimizer, loss_of: Any = loss_of) -> Tensor:
            optimizer.zero_grad()
            loss: Tensor = loss_of()
            loss.backward()
            optimizer.step()
            if after:
                after[model is mine](model)
            return loss.detach()

        steps.append(step)
    torch.set_num_threads(1)
    torch.manual_seed(1)
    expected = steps[0]()
    torch.manual_seed(1)
    assert float(steps[1]() / expected) == pytest.approx(1, abs=1e-4)  # the same arithmetic
    plainly, here = steps
    ours = 1 / compare(f"{name}: plain against here", plainly, here, rounds=rounds)
    assert ours <= GOAL


def plain_vae(model: Any, batch: dict[str, Any]) -> Tensor:
    """Kingma & Welling's bound."""
    x = batch["image"]
    mean, logvar = model.encoder(x).chunk(2, 1)
    z = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
    bce = F.binary_cross_entropy_with_logits(model.decoder(z), x, reduction="sum")
    return (bce + 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum()) / len(x)


def test_vae() -> None:
    model = VAE(hidden_dims=(512, 512), latent_dim=32)
    race("VAE step, 256 images", model, plain_vae, digits(256), rounds=60)


def plain_vqvae(model: Any, batch: dict[str, Any]) -> Tensor:
    """Nearest code, straight through; counts and sums for the average."""
    x, book = batch["image"], model.quantizer.codebook
    z = model.encoder(x)
    rows = z.permute(0, 2, 3, 1).reshape(-1, book.shape[1])
    with torch.no_grad():
        distance = book.square().sum(1) - 2 * rows @ book.T
        codes = distance.argmin(1)
        hot = F.one_hot(codes, len(book)).float()
        model.seen = hot.sum(0), hot.T @ rows
    e = book[codes].view(len(x), *z.shape[2:], -1).permute(0, 3, 1, 2)
    out = model.decoder(z + (e - z).detach())
    commitment = 0.25 * (z - e).square().sum() / len(x)
    return (out - x).square().sum() / len(x) + commitment


def move_codebook(model: Any) -> None:
    """Sonnet's average."""
    q, (count, total) = model.quantizer, model.seen
    q.cluster_size.mul_(0.99).add_(count, alpha=0.01)
    q.embed_avg.mul_(0.99).add_(total, alpha=0.01)
    n = q.cluster_size.sum()
    smoothed = (q.cluster_size + 1e-5) / (n + len(count) * 1e-5) * n
    q.codebook.copy_(q.embed_avg / smoothed[:, None])


def test_vqvae() -> None:
    """A codebook of 512; the plain side counts with one-hot rows, as the reference code does."""
    model = VQVAE(1, 28, hidden=32, init_from_data=False, restart_below=0.0)
    after = (move_codebook, lambda m: m.quantizer.update())
    race("VQ-VAE step, 64 images", model, plain_vqvae, digits(64), rounds=12, after=after)


@pytest.mark.parametrize("network", ["transformer", "pixelcnn"])
def test_the_prior_over_codes(network: str) -> None:
    """The codes are known: the method finds them by image, the plain side holds them."""
    spec = {
        "class_path": "genlab.methods.vqvae.VQVAE",
        "init_args": {"channels": 1, "image_size": 28, "hidden": 16},
    }
    model = VQPrior(tokenizer_spec=spec, network=network, width=64, depth=2)
    batch = digits(64)
    codes = model.tokenizer.encode(batch["image"])

    def plain(model: Any, batch: dict[str, Any]) -> Tensor:
        return F.cross_entropy(model.prior(codes, None), codes, reduction="sum") / len(codes)

    race(f"{network} over 7 x 7 codes, 64 images", model, plain, batch, rounds=12)


def plain_flow(layer: Any, x: Tensor) -> tuple[Tensor, Tensor | float]:
    """One layer of Glow, and what is inside it, as a script would have it."""
    if isinstance(layer, Chain):
        total: Tensor | float = 0.0
        for inner in layer.layers:
            x, log_det = plain_flow(inner, x)
            total = total + log_det
        return x, total
    if isinstance(layer, Squeeze):
        n, c, h, w = x.shape
        x = x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4)
        return x.reshape(n, 4 * c, h // 2, w // 2), 0.0
    if isinstance(layer, Reshape):
        return x.flatten(1), 0.0
    if isinstance(layer, ActNorm):
        scale = layer.log_scale
        z = (x + layer.shift[:, None, None]) * scale.exp()[:, None, None]
        return z, scale.sum() * x.shape[2] * x.shape[3]
    if isinstance(layer, InvertibleConv):
        eye = torch.eye(x.shape[1])
        lower = layer.lower.tril(-1) + eye
        upper = layer.upper.triu(1) + torch.diag(layer.sign * layer.log_scale.exp())
        weight = layer.order @ lower @ upper
        return F.conv2d(x, weight[:, :, None, None]), layer.log_scale.sum() * x.shape[2] ** 2
    if isinstance(layer, HalfCoupling):
        a, b = x.chunk(2, 1)
        raw = layer.net(a)
        s, t = LOG_SCALE * torch.tanh(raw[:, 0::2] / LOG_SCALE), raw[:, 1::2]
        return torch.cat([a, b * s.exp() + t], 1), s.flatten(1).sum(1)
    assert isinstance(layer, FactorOut)
    assert layer.prior is not None
    a, b = x.chunk(2, 1)
    raw = layer.prior(a)
    mean, log_std = raw[:, 0::2], 4.0 * torch.tanh(raw[:, 1::2] / 4.0)
    z, log_det = plain_flow(layer.rest, a)
    done = (b - mean) * (-log_std).exp()
    return torch.cat([z, done.flatten(1)], 1), log_det - log_std.flatten(1).sum(1)


def plain_glow(model: Any, batch: dict[str, Any]) -> Tensor:
    """Change of variables, with bytes spread over their cells and centred."""
    image = batch["image"]
    x = ((image * 255).round() + torch.rand_like(image)) / 256 - 0.5
    z, log_det = plain_flow(model.flow.layers, x)
    log_prob = -0.5 * (z.square() + math.log(2 * math.pi)).sum(1) + log_det
    return -(log_prob - math.log(256) * image[0].numel()).mean()


def test_glow() -> None:
    model = Glow(channels=1, image_size=28, scales=2, steps=4, width=64)
    race("Glow step, 64 images", model, plain_glow, digits(64), rounds=12)
