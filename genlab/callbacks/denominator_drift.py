"""Change of a contrastive loss's denominator and of the query's gradient from step to step."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import distributed

NAMES = ("denominator", "query_gradient")


class DenominatorDrift(L.Callback):
    """Standard deviation over steps of the denominator and of the query's gradient.

    Makes MoCo and SimCLR return ``denominator`` and ``query_gradient`` of each step, see
    `losses.denominator`, which costs their similarities once more; ignored for other methods. He
    et al. 2020, arXiv:1911.05722, section 3.2, want keys that are consistent although the encoder
    moves. With gradient accumulation each part of a batch counts as a step.

    Logs:
        train/denominator_sd (nats, lower): standard deviation over the steps since the last
            validation of the log of the denominator, each a mean over the queries of all ranks.
        train/denominator_change (nats, lower): mean absolute difference between the logs of the
            denominator of two consecutive steps, since the last validation.
        train/query_gradient_sd (1, lower): standard deviation over the steps since the last
            validation of the norm of the query's gradient.
    """

    def __init__(self) -> None:
        self._seen: list[Tensor] = []  # (2,) of each step
        self._restored: list[Tensor] = []  # one (n, 2) a rank

    def state_dict(self) -> dict[str, Any]:
        """The steps since the last validation, of every rank."""
        mine = torch.stack(self._seen).cpu() if self._seen else torch.zeros(0, 2)
        return {"seen": distributed.gather_objects(mine)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = list(state_dict["seen"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        method: Any = pl_module
        if hasattr(method, "watches_denominator"):
            method.watches_denominator = True
        self._seen = []
        if len(self._restored) == distributed.world_size():  # else it is of what follows
            mine = self._restored[distributed.rank()].to(pl_module.device)
            self._seen = list(mine)
        self._restored = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *args: Any
    ) -> None:
        if isinstance(outputs, dict) and all(name in outputs for name in NAMES):
            self._seen.append(torch.stack([outputs[name].detach().float() for name in NAMES]))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn != "fit" or len(self._seen) < 2:
            return
        seen = distributed.all_reduce_sum(torch.stack(self._seen)) / distributed.world_size()
        self._seen = []
        sd = seen.std(0)
        found = {f"train/{name}_sd": value for name, value in zip(NAMES, sd, strict=True)}
        found["train/denominator_change"] = seen[:, 0].diff().abs().mean()
        pl_module.log_dict(found)
