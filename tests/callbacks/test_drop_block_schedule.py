"""The drop probability of every DropBlock layer follows the optimiser's steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from genlab.callbacks import DropBlockSchedule
from genlab.callbacks.drop_block_schedule import drop_blocks
from genlab.training.engine.checkpointing import Checkpoints
from tests.callbacks.tiny import digits, trainer

pytestmark = pytest.mark.filterwarnings("ignore:The number of training batches")


class Dropping(L.LightningModule):
    """Both kinds of DropBlock; remembers probabilities and how much is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.ours = timm.layers.DropBlock2d(0.5, block_size=3)
        self.vision = torchvision.ops.DropBlock2d(0.5, block_size=3)
        self.seen: list[tuple[float, float]] = []
        self.dropped: list[float] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.seen.append((self.ours.drop_prob, self.vision.p))
        h = self.ours(torch.ones_like(batch["image"]))
        self.dropped.append((h == 0).float().mean().item())
        return (self.weight * self.vision(h)).mean()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


def fit(folder: Path, resume: Path | None = None, **options: Any) -> Dropping:
    arguments = {k: options.pop(k) for k in ("final", "start", "steps") if k in options}
    model = Dropping()
    keep = Checkpoints(monitor=None, keep_every_n_steps=1)
    fit = trainer(folder, DropBlockSchedule(**arguments), keep, limit_val_batches=0, **options)
    fit.fit(model, datamodule=digits(), ckpt_path=resume, weights_only=True)
    return model


def test_linear_from_start_to_final_and_blocks_are_dropped(tmp_path: Path) -> None:
    model = fit(tmp_path, final=0.38)
    expected = [0.38 * step / 19 for step in range(20)]
    for seen in zip(*model.seen, strict=True):
        assert seen == pytest.approx(expected)
    assert model.dropped[0] == 0
    assert sum(model.dropped[15:]) > sum(model.dropped[:5]) + 0.5
    assert max(model.dropped) > 0.2


def test_steps_are_the_optimisers(tmp_path: Path) -> None:
    model = fit(tmp_path, final=0.4, start=0.1, accumulate_grad_batches=2)
    first = [p for p, _ in model.seen]
    assert first[0::2] == first[1::2]
    assert first[::2] == pytest.approx([0.1 + 0.3 * step / 19 for step in range(20)])


def test_a_shorter_ramp_stays_at_its_end(tmp_path: Path) -> None:
    seen = [p for p, _ in fit(tmp_path, final=0.2, steps=5).seen]
    assert seen[:5] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    assert set(seen[4:]) == {0.2}


def test_resumed_goes_on_with_the_step(tmp_path: Path) -> None:
    straight = fit(tmp_path / "a", final=0.3)
    resumed = fit(tmp_path / "b", tmp_path / "a" / "checkpoints" / "step-00000007.ckpt", final=0.3)
    assert resumed.seen == straight.seen[7:]


def test_timms_resnet_has_layers_where_it_is_built_with_them(tmp_path: Path) -> None:
    with_layers = timm.create_model("resnet18", drop_block_rate=0.1, num_classes=0)
    assert len(drop_blocks(with_layers)) == 4  # two blocks in each of the last two stages
    assert not drop_blocks(timm.create_model("resnet18", num_classes=0))


def test_a_method_without_drop_block_is_refused(tmp_path: Path) -> None:
    model = Dropping()
    del model.ours, model.vision
    with pytest.raises(ValueError, match=r"Dropping has no DropBlock layer.*drop_block_rate"):
        trainer(tmp_path, DropBlockSchedule(), limit_val_batches=0).fit(model, datamodule=digits())


@pytest.mark.parametrize("arguments", [{"final": 1.0}, {"start": -0.1}, {"steps": 0}])
def test_refusals(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"DropBlockSchedule.{next(iter(arguments))}"):
        DropBlockSchedule(**arguments)
