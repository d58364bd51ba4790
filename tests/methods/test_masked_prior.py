"""What must be true of the masked prior: its loss, its order of unmasking, its samples."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab import checkpoints
from genlab.augment.draws import for_images
from genlab.contracts import Batch, HasDensity, SamplesCodes
from genlab.methods.masked_prior import STREAM, MaskedPrior, masks

VQ: dict[str, Any] = {
    "channels": 1, "image_size": 8, "num_codes": 16, "code_dim": 4, "hidden": 16,
    "downsamplings": 1, "residual_blocks": 1,
}  # fmt: skip
SPEC: dict[str, Any] = {"class_path": "genlab.methods.vqvae.VQVAE", "init_args": VQ}
VAE = {"class_path": "genlab.methods.vae.VAE", "init_args": {"channels": 1, "image_size": 8}}
TINY: dict[str, Any] = {
    "tokenizer_spec": SPEC, "width": 16, "depth": 2, "dropout": 0.0, "num_classes": 3,
    "optimizer": {"lr": 1e-2},
}  # fmt: skip


def batch(n: int = 6) -> Batch:
    index = torch.arange(n)
    return {"image": torch.rand(n, 1, 8, 8), "label": index % 3, "index": index}


class Batches(list[Batch]):
    """A loader of ready batches."""


class Flat(torch.nn.Module):
    """A network that prefers one code at each place, and records what it was shown."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits, self.shown = logits, list[Tensor]()

    def forward(self, codes: Tensor, known: Tensor, label: Tensor | None) -> Tensor:
        self.shown.append(known.clone())
        return self.logits.expand(len(codes), *self.logits.shape)


def seen_by(method: MaskedPrior, logits: Tensor) -> list[Tensor]:
    """Give the prior's place to such a network; what it will be shown."""
    network = Flat(logits)
    method.prior = network  # type: ignore[assignment]
    return network.shown


def test_masks_have_the_share_that_was_drawn() -> None:
    share = torch.tensor([0.0, 0.02, 0.5, 1.0])
    found = masks(share, torch.rand(4, 7, 7)).flatten(1).sum(1)
    assert found.tolist() == [1, 1, 24, 49]  # one at least; 24.5 to the even number
    drawn = masks(torch.full((4000,), 0.25), torch.rand(4000, 4, 4)).float().mean(0)
    torch.testing.assert_close(drawn, torch.full((4, 4), 0.25), rtol=0, atol=0.04)


def test_the_loss_is_that_of_masked_codes_alone() -> None:
    method = MaskedPrior(**TINY, label_smoothing=0.5)
    data = batch()
    torch.manual_seed(3)
    found = method.training_step(data, 0)
    torch.manual_seed(3)
    share = (torch.rand(6) * math.pi / 2).cos()
    masked = masks(share, torch.rand(6, 4, 4))
    codes = method.tokenizer.encode(data["image"])
    shown = method.prior(codes.where(~masked, 0), ~masked)
    log_p = shown.log_softmax(1)
    slow = 0.0
    for b, i, j in masked.nonzero().tolist():
        target = torch.full((16,), 0.5 / 16)
        target[codes[b, i, j]] += 0.5
        slow -= float((target * log_p[b, :, i, j].detach()).sum()) / 6
    assert found["loss"].item() == pytest.approx(slow, rel=1e-5)
    plain = F.cross_entropy(shown, codes, reduction="none")[masked].sum() / 6
    assert found["loss"].item() != pytest.approx(plain.item(), rel=1e-3)


def test_validation_has_the_same_masks_for_an_image_in_any_batch() -> None:
    method, data = MaskedPrior(**TINY).eval(), batch()
    whole = method.validation_step(data, 0)
    halves: list[Any] = [{k: v[rows] for k, v in data.items()}  # type: ignore[index]
                         for rows in (slice(3), slice(3, 6))]  # fmt: skip
    for name, value in whole.items():
        parts = torch.stack([method.validation_step(half, 0)[name] for half in halves])
        assert parts.mean().item() == pytest.approx(value.item(), rel=1e-5)
    assert torch.equal(method.validation_step(data, 0)["loss"], whole["loss"])


def test_validation_masks_have_shares_of_the_cosine_and_no_favourite_place() -> None:
    """Masks of 1,000 images: those of `for_images`, as in the other methods with fixed draws."""
    method, data = MaskedPrior(**TINY).eval(), batch(1000)
    shown = seen_by(method, torch.zeros(16, 4, 4))
    method.validation_step(data, 0)
    masked = ~shown[0]  # (N, 4, 4)
    expected = for_images(method._masks, data, training=False, stream=STREAM)["masked"]
    assert torch.equal(masked, expected)
    share = masked.flatten(1).float().mean(1)
    assert share.mean().item() == pytest.approx(2 / math.pi, abs=0.03)
    quarters = torch.tensor([0.25, 0.5, 0.75])
    found = share.quantile(1 - quarters)
    torch.testing.assert_close(found, (quarters * math.pi / 2).cos(), rtol=0, atol=0.06)
    assert (masked.float().mean(0) - share.mean()).abs().max() < 0.05
    half = masked.flatten(1)[masked.flatten(1).sum(1) == 8]
    assert len(half.unique(dim=0)) > 0.9 * len(half) > 20


def test_decoding_masks_as_many_as_the_schedule_and_no_known_code_changes() -> None:
    method = MaskedPrior(**TINY, steps=5).eval()
    shown = seen_by(method, torch.zeros(16, 4, 4))
    given = torch.randint(16, (7, 4, 4))
    found = method.fill(given, torch.zeros_like(given, dtype=torch.bool))
    assert [int((~s).sum()) for s in shown] == [7 * n for n in (16, 15, 12, 9, 4)]
    assert all((~s).flatten(1).sum(1).unique().numel() == 1 for s in shown)
    for before, after in pairwise(shown):
        assert (after | ~before).all()  # what is revealed stays revealed
    assert 0 <= found.min() <= found.max() < 16
    assert method.nfe == 5
    known = torch.zeros_like(given, dtype=torch.bool)
    known[:, :2] = True
    filled = method.fill(given, known)
    assert torch.equal(filled[:, :2], given[:, :2])
    assert torch.equal(method.fill(given, torch.ones_like(known)), given)


def test_images_with_other_numbers_of_unknown_places_are_refused() -> None:
    """The counts of the first image would draw known codes of the second anew."""
    method, given = MaskedPrior(**TINY).eval(), torch.randint(16, (2, 4, 4))
    known = torch.zeros_like(given, dtype=torch.bool)
    known[1, 1:] = True
    with pytest.raises(ValueError, match="known leaves 4 to 16 places"):
        method.fill(given, known)
    with pytest.raises(ValueError, match="known leaves 4 to 16 places"):
        method.fill(given.flip(0), known.flip(0))
    known[0, :, 1:] = True  # as many, elsewhere
    filled = method.fill(given, known)
    assert torch.equal(filled[known], given[known])


def test_one_step_is_independent_sampling_and_sixteen_reveal_one_at_a_time() -> None:
    method = MaskedPrior(**TINY, steps=1).eval()
    shown = seen_by(method, torch.arange(16.0)[:, None, None].expand(16, 4, 4) / 8)
    drawn = method.sample_codes(4000)
    assert len(shown) == 1
    frequency = drawn.flatten().bincount(minlength=16) / drawn.numel()
    torch.testing.assert_close(frequency, (torch.arange(16.0) / 8).softmax(0), rtol=0, atol=0.01)
    method.hparams["steps"] = 16
    shown.clear()
    method.sample_codes(2)
    assert [int(s[0].sum()) for s in shown] == list(range(16))


def test_without_noise_the_most_confident_stay_and_with_it_others_do() -> None:
    logits = torch.zeros(16, 4, 4)
    logits[3] = torch.arange(16.0).view(4, 4)  # the last place is surest
    first = {}
    for noise in (0.0, 4.5):
        torch.manual_seed(0)
        method = MaskedPrior(**TINY, steps=16, choice_noise=noise).eval()
        shown = seen_by(method, logits)
        method.sample_codes(200, temperature=0.5)
        first[noise] = shown[1].flatten(1).float().mean(0)  # (16,)
    assert first[0.0][:8].sum() < 0.05  # drawn codes are 3 and sure at the last places
    assert first[4.5][:8].sum() > 0.1


def test_learns_codes_by_class(tmp_path: Path) -> None:
    """One image a class: samples are those images."""
    torch.manual_seed(0)
    settings = TINY | {"optimizer": {"lr": 2e-2, "schedule": "cosine"}}
    method = MaskedPrior(**settings, class_conditional=True, label_dropout=0.0, label_smoothing=0.0)
    data = batch(3)
    codes = method.tokenizer.encode(data["image"])
    run = L.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    before = {k: v.clone() for k, v in method.tokenizer.state_dict().items()}
    run.fit(method, Batches([data] * 250), Batches([data]))
    assert all(torch.equal(v, before[k]) for k, v in method.tokenizer.state_dict().items())
    method.eval()
    label = torch.arange(3).repeat(20)
    drawn = method.sample_codes(60, label)
    assert (drawn == codes[label]).flatten(1).all(1).float().mean() > 0.8
    assert torch.equal(method.sample(3, label[:3], 0.01), method.tokenizer.decode(codes))
    again = checkpoints.build(checkpoints.spec(method))
    again.load_state_dict(method.state_dict())
    assert again.hparams["tokenizer"] is None


def test_a_residual_tokenizer_has_a_code_for_each_stage() -> None:
    wide = {"class_path": SPEC["class_path"], "init_args": VQ | {"codebook": "residual"}}
    method = MaskedPrior(**(TINY | {"tokenizer_spec": wide})).eval()
    assert method.sample_codes(2).shape == (2, 4, 8)
    assert method.sample(2).shape == (2, 1, 8, 8)


def test_it_has_no_likelihood_but_codes() -> None:
    method = MaskedPrior(**TINY)
    assert not isinstance(method, HasDensity)
    assert isinstance(method, SamplesCodes)
    assert not [name for name in method.training_step(batch(), 0) if "bits" in name]


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": 17}, "steps"),
        ({"choice_noise": -1.0}, "^choice_noise -1.0 must be >= 0"),
        ({"label_smoothing": 1.0}, "^label_smoothing 1.0 must lie in"),
        ({"label_dropout": -0.5}, "^label_dropout -0.5 must lie in"),
        ({"tokenizer_spec": None}, "VQ-VAE or VQGAN, or else a tokenizer_spec"),
        ({"tokenizer_spec": VAE}, "is a VAE, not a VQ-VAE or VQGAN: no codes"),
        ({"class_conditional": True, "num_classes": 0}, "class_conditional"),
        ({"width": 15}, "width"),
    ],
)
def test_refuses(bad: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        MaskedPrior(**(TINY | bad))
