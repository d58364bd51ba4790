"""Optimisers of changed settings that go on with the states of the former ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import lightning as L
import torch
from torch.optim import Optimizer

Pair = tuple[Any, Any]  # a former and a present value
COUNTER = "schedule_step"  # in the first group: the schedule's own counter


class ChangedOptimizers(L.Callback):
    """Give a checkpoint's optimiser states the settings of this start before they are loaded.

    A checkpoint holds the parameter groups of the run so far: loaded as they are, they would undo
    every change of ``lr``, ``weight_decay``, ``betas``, ``lr_scale`` or ``layer_decay``. Only
    what a former and a present optimiser differ in is changed, so that counters stay, and what a
    callback such as `ReduceOnPlateau` has set; parameters may move to other groups.

    Args:
        model: former and present values of the method's changed arguments.
        data: those of the data's.

    Raises:
        ValueError: the optimisers are of other parameters; the learning rate is that of a Lightning
            scheduler, whose state has its own.
    """

    def __init__(self, model: Mapping[str, Pair], data: Mapping[str, Pair]) -> None:
        self.model, self.data = model, data
        self._states: list[dict[str, Any]] = []

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._states = checkpoint.get("optimizer_states", []) if trainer.state.fn == "fit" else []

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self._states:
            return
        with ExitStack() as stack:
            stack.enter_context(_as_before(pl_module, self.model))
            stack.enter_context(_as_before(trainer.datamodule, self.data))  # type: ignore[attr-defined]
            before = optimizers_of(pl_module.configure_optimizers())
        if not _fit(self._states, before, trainer.optimizers):
            keys = [f"model.{n}" for n in self.model] + [f"data.{n}" for n in self.data]
            raise ValueError(
                f"{', '.join(keys)}: the checkpoint's optimizers are "
                "of other parameters: it cannot change"
            )
        for state, old, new in zip(self._states, before, trainer.optimizers, strict=True):
            if carry(state, old, new) and trainer.lr_scheduler_configs:
                kind = type(pl_module).__name__
                raise ValueError(
                    f"{kind}'s learning rate is its scheduler's, whose state is the checkpoint's: "
                    "the optimizer's settings cannot be changed"
                )


def _fit(states: list[Any], before: list[Optimizer], now: list[Optimizer]) -> bool:
    """True if states, former and present optimisers are of the same parameters."""
    if not len(states) == len(before) == len(now):
        return False
    held = [[len(group["params"]) for group in state["param_groups"]] for state in states]
    were = [[len(group["params"]) for group in optimizer.param_groups] for optimizer in before]
    ids = [[{id(p) for p in _parameters(o)} for o in some] for some in (before, now)]
    return held == were and ids[0] == ids[1]


def carry(state: dict[str, Any], old: Optimizer, new: Optimizer) -> bool:
    """Turn the state dict of one optimiser into that of another over the same parameters.

    Args:
        state: changed in place.
        old: optimiser as it was built when the state began.
        new: optimiser that is to load it.

    Returns:
        True if anything but the state's order has changed.
    """
    number = {id(p): k for k, p in enumerate(_parameters(old))}
    home = {id(p): k for k, group in enumerate(old.param_groups) for p in group["params"]}
    values: dict[int, Any] = {}
    groups, changed, count = list[dict[str, Any]](), False, 0
    for group in new.param_groups:
        if not group["params"]:
            groups.append(group | {"params": []})
            continue
        at = home[id(group["params"][0])]
        options, differ = _options(state["param_groups"][at], old.param_groups[at], group)
        changed |= differ
        numbers = [number[id(p)] for p in group["params"]]
        held = state["state"]
        values |= {count + k: held[n] for k, n in enumerate(numbers) if n in held}
        groups.append(options | {"params": list(range(count, count + len(numbers)))})
        count += len(numbers)
    counted = state["param_groups"][0].get(COUNTER)
    if counted is not None and COUNTER in groups[0]:
        groups[0][COUNTER] = counted
    state["state"], state["param_groups"] = values, groups
    return changed


def _options(
    kept: dict[str, Any], was: dict[str, Any], now: dict[str, Any]
) -> tuple[dict[str, Any], bool]:
    """Options of a group: the checkpoint's, but for those whose setting has changed."""
    options = {k: v for k, v in kept.items() if k not in was and k != "params"}
    differ = False
    for key, value in now.items():
        if key == "params":
            continue
        same = key in was and _equal(was[key], value)
        differ |= not same and key != COUNTER
        options[key] = kept[key] if same and key in kept else value
    return options, differ


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) or isinstance(other, torch.Tensor):
        return bool(torch.equal(torch.as_tensor(one), torch.as_tensor(other)))
    return bool(one == other)


def _parameters(optimizer: Optimizer) -> Iterator[torch.nn.Parameter]:
    for group in optimizer.param_groups:
        yield from group["params"]


def optimizers_of(made: Any) -> list[Optimizer]:
    """The optimisers in what ``configure_optimizers`` returns."""
    if isinstance(made, Optimizer):
        return [made]
    if isinstance(made, dict):
        return [made["optimizer"]]
    parts = made[0] if isinstance(made, tuple) and isinstance(made[0], list | tuple) else made
    return [optimizer for part in parts or [] for optimizer in optimizers_of(part)]


@contextmanager
def _as_before(owner: Any, changed: Mapping[str, Pair]) -> Iterator[None]:
    """Hyper-parameters, and attributes of their names, with former values for a while."""
    hparams: Any = getattr(owner, "hparams", {})
    attributes = [n for n, (_, now) in changed.items() if _keeps(owner, n, now)]
    _set(owner, hparams, attributes, {name: old for name, (old, _) in changed.items()})
    try:
        yield
    finally:
        _set(owner, hparams, attributes, {name: now for name, (_, now) in changed.items()})


def _set(owner: Any, hparams: Any, attributes: list[str], values: dict[str, Any]) -> None:
    hparams.update({name: value for name, value in values.items() if name in hparams})
    for name in attributes:
        setattr(owner, name, values[name])


def _keeps(owner: Any, name: str, value: Any) -> bool:
    """True if an object keeps an argument as an attribute of its name."""
    attribute = getattr(owner, name, None)
    return type(attribute) is type(value) and bool(attribute == value)
