"""The spread over steps of what a contrastive method returns, for every kind of negatives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from genlab.callbacks import DenominatorDrift
from genlab.training.engine.reseed import Reseed
from tests.callbacks.programs_watching import digits
from tests.callbacks.tiny import trainer
from tests.methods.programs_ssl import same_state, small


class Steps(L.Callback):
    """Notes what each step returns."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *args: Any) -> None:
        if "denominator" in outputs:
            self.seen.append(torch.stack([outputs["denominator"], outputs["query_gradient"]]))


def fit(folder: Path, name: str, *callbacks: L.Callback, **options: Any) -> Any:
    run = trainer(folder, Reseed(), *callbacks, max_epochs=1)
    run.fit(small(name, **options), datamodule=digits())
    return run


@pytest.mark.parametrize(
    ("name", "options"), [("moco", {}), ("moco", {"negatives": "batch"}), ("simclr", {})]
)
def test_it_is_the_spread_of_the_steps_and_training_does_not_notice(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    steps = Steps()
    run = fit(tmp_path, name, DenominatorDrift(), steps, **options)
    seen = torch.stack(steps.seen)
    assert len(seen) == run.global_step > 2
    logged = run.callback_metrics
    torch.testing.assert_close(logged["train/denominator_sd"], seen[:, 0].std())
    torch.testing.assert_close(logged["train/query_gradient_sd"], seen[:, 1].std())
    torch.testing.assert_close(
        logged["train/denominator_change"], (seen[1:, 0] - seen[:-1, 0]).abs().mean()
    )
    plain = fit(tmp_path / "plain", name, Steps(), **options)
    assert "train/denominator_sd" not in plain.callback_metrics
    same_state(plain.model.state_dict(), run.model.state_dict())


def test_other_methods_and_a_new_start_are_left_alone(tmp_path: Path) -> None:
    run = fit(tmp_path, "byol", DenominatorDrift())
    assert "train/denominator_sd" not in run.callback_metrics
    watch = DenominatorDrift()
    watch._seen = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])]
    again = DenominatorDrift()
    again.load_state_dict(watch.state_dict())
    torch.testing.assert_close(again._restored[0], torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
