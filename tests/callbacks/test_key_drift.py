"""Drift is measured over a key's life in the queue, and only measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from genlab import checkpoints
from genlab.callbacks import KeyDrift
from genlab.networks.modes import evaluating
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed
from tests.callbacks.programs_watching import digits
from tests.callbacks.tiny import Line, trainer
from tests.methods import programs_nnclr
from tests.methods.programs_ssl import same_state, small


class Keys(Checkpoints):
    """Notes the keys of the validation images after every step, and the modes it finds."""

    def __init__(self) -> None:
        super().__init__(None, keep_every_n_steps=1)
        self.seen: dict[int, torch.Tensor] = {}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        super().on_train_batch_end(trainer, pl_module, *args)
        assert all(part.training for part in pl_module.modules())
        data = trainer.datamodule
        batch = data.to_device(next(iter(data.bank_dataloader("val", most=20))))
        with evaluating(pl_module), torch.no_grad():
            k = pl_module.projector_ema(pl_module.encoder_ema(batch["image"]))
        self.seen[trainer.global_step] = F.normalize(k, dim=1)


def fit(
    folder: Path, name: str, *callbacks: Any, resume: Path | None = None, **options: Any
) -> Any:
    sgd = {"name": "sgd", "lr": 0.5, "momentum": 0.9}
    method = small(name, optimizer=sgd, **options)
    run = trainer(folder, Reseed(), *callbacks, max_epochs=2)
    run.fit(method, datamodule=digits(), ckpt_path=resume, weights_only=True if resume else None)
    return run


@pytest.mark.parametrize(("name", "life"), [("moco", 7), ("moco_symmetric", 4)])
def test_it_is_the_change_over_the_life_of_a_key(name: str, life: int, tmp_path: Path) -> None:
    """A queue of 200 and 32 or 64 keys a step: from the first validation, step 10, to 17 or 14."""
    keys, watch = Keys(), KeyDrift(20)
    run = fit(tmp_path, name, watch, keys, queue_size=200)
    expected = 1 - (keys.seen[10] * keys.seen[10 + life]).sum(1).mean()
    assert float(expected) > 1e-4
    torch.testing.assert_close(run.callback_metrics["val/key_drift"], expected)


def test_training_does_not_notice_and_a_resume_ends_what_was_begun(tmp_path: Path) -> None:
    straight = fit(tmp_path / "with", "moco", KeyDrift(20), Checkpoints(None, keep_every_n_steps=1))
    plain = fit(tmp_path / "without", "moco", Checkpoints(None))
    assert same_state(straight.model.state_dict(), plain.model.state_dict()) == []
    saved = tmp_path / "with/checkpoints/step-00000011.ckpt"
    assert checkpoints.read(saved)["callbacks"]["KeyDrift"]["due"] == 12
    resumed = fit(tmp_path / "on", "moco", KeyDrift(20), Checkpoints(None), resume=saved)
    figures = [run.callback_metrics["val/key_drift"] for run in (straight, resumed)]
    assert torch.equal(*figures)


def test_a_method_without_a_queue_has_no_figure(tmp_path: Path) -> None:
    for method in (
        small("byol"),
        programs_nnclr.small(queue_size=50),
        Line(),
    ):  # NNCLR's queue is of no copy
        run = trainer(tmp_path, KeyDrift(), max_epochs=1, enable_checkpointing=False)
        run.fit(method, datamodule=digits())
        assert "val/key_drift" not in run.callback_metrics


def test_parts_return_to_their_own_modes() -> None:
    network = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout().eval())
    with evaluating(network):
        assert not any(part.training for part in network.modules())
    assert [part.training for part in network] == [True, False]


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"KeyDrift\.count"):
        KeyDrift(0)
