"""Methods of genlab with lightly's losses: the same start, and the same loss where it is one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genlab import methods, recipes

pytest.importorskip("lightly", reason="lightly is not installed")
from tests.peers import lightly_methods

NAMES = {  # and the recipe, and factor and constant of lightly's loss in genlab's
    "SimCLR": ("simclr", 1.0, 0.0),
    "BarlowTwins": ("barlow_twins", 1.0, 0.0),
    "SimSiam": ("simsiam", 1.0, 0.0),
    "BYOL": ("byol", 4.0, 4.0),
    "SwAV": ("swav", 1.0, 0.0),
    "VICReg": ("vicreg", 1.0, 0.0),
    "DINO": ("dino", 1.0, 0.0),
}


def made(package: Any, name: str) -> Any:
    settings = recipes.resolve([f"{NAMES[name][0]}/digits"]).arguments("model")
    torch.manual_seed(0)
    return getattr(package, name)(**{"channels": 1, "image_size": 8} | settings)


@pytest.mark.parametrize("name", NAMES)
def test_lightly_starts_from_genlab_s_weights_and_has_its_loss(name: str) -> None:
    ours, theirs = made(methods, name), made(lightly_methods, name)
    for key, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[key]), key
    torch.manual_seed(1)
    views = [torch.rand(32, 1, 8, 8) for _ in range(2)]
    batch: Any = {"views": views, "label": torch.zeros(32), "index": torch.arange(32)}
    _, factor, constant = NAMES[name]
    expected = ours.training_step(batch, 0)["loss"].item()
    loss = theirs.training_step(batch, 0)["loss"]
    assert factor * loss.item() + constant == pytest.approx(expected, rel=2e-3)
    loss.backward()
    assert all(p.grad is not None for p in theirs.encoder.parameters())
    if name in ("BYOL", "DINO"):
        before = [p.clone() for p in theirs.encoder_ema.parameters()]
        with torch.no_grad():
            for parameter in theirs.encoder.parameters():
                parameter.add_(1)
        theirs.after_step(0, 100)
        moved = [
            (p - b).abs().max()
            for p, b in zip(theirs.encoder_ema.parameters(), before, strict=True)
        ]
        assert max(moved) == pytest.approx(1 - theirs.ema_decay, rel=1e-3)
