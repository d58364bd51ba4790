"""Laws of what a training leaves behind: it goes on exactly, and moves once a step."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torchmetrics import Metric

from genlab import checkpoints
from genlab.testing.batches import Batch
from genlab.testing.cases import Case
from genlab.testing.findings import Finding, worst
from genlab.testing.ranks import Ranks
from genlab.testing.running import Recorder, quiet_trainer, train
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed

PARTS = 3  # batches accumulated to a step
OUTSIDE = set(vars(L.LightningModule())) | {"_trainer", "trainer"}


@dataclass
class Pair:
    """A training that went straight through and one that was continued from a step of it.

    Args:
        step: step of the checkpoint.
        start: state of the method before training.
        saved: when the checkpoint was written.
        loaded: state of a fresh method that has read it.
        ends: at last, of the straight training and of the continued one.
        states: their state dicts.
    """

    step: int
    start: dict[str, Any]
    saved: dict[str, Any]
    loaded: dict[str, Any]
    ends: tuple[dict[str, Any], dict[str, Any]]
    states: tuple[dict[str, Tensor], dict[str, Tensor]]


class Snapshots(L.Callback):
    """State of the method after every optimiser step."""

    def __init__(self) -> None:
        self.of_step: dict[int, dict[str, Any]] = {}

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any, **__: Any
    ) -> None:
        if trainer.global_step not in self.of_step:
            self.of_step[trainer.global_step] = _copied(held(pl_module))


def resume(case: Case, ranks: Ranks) -> Finding:
    """A resumed training equals the straight one to the bit, in mid-epoch, with accumulation."""
    before = case.method.state_dict()
    for pair in pairs(case):
        straight, resumed = pair.states
        found, where = worst([("", resumed, straight)])
        if found:
            return Finding("resume", False, found, f"{where}, from step {pair.step}")
        if worst([("", straight, before)])[0] == 0:
            return Finding("resume", False, 0.0, "nothing was trained")
    return Finding("resume", True, 0.0)


def checkpoint(case: Case, ranks: Ranks) -> Finding:
    """Everything that training changes is in the checkpoint, attributes included."""
    for pair in pairs(case):
        straight, resumed = pair.ends
        changed = _apart(pair.saved, pair.start)
        lost = changed & _apart(pair.saved, pair.loaded) & _apart(straight, resumed)
        if lost:
            names = ", ".join(sorted(lost)[:3])
            return Finding("checkpoint", False, None, f"{names}, from step {pair.step}")
    return Finding("checkpoint", True, 0.0)


def _apart(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """Names in ``one`` whose value ``other`` lacks."""
    return {n for n, v in one.items() if n not in other or not _equal(v, other[n])}


def pairs(case: Case) -> list[Pair]:
    """Straight and resumed trainings of two epochs, from a step of each; made once for a case."""
    if "pairs" not in case.made:
        case.made["pairs"] = _pairs(case)
    found: list[Pair] = case.made["pairs"]
    return found


def _pairs(case: Case) -> list[Pair]:
    with tempfile.TemporaryDirectory() as folder:
        snapshots = Snapshots()
        straight = fitted(case, Path(folder) / "straight", None, snapshots)
        files = sorted((Path(folder) / "straight/checkpoints").glob("step-*.ckpt"))
        found = []
        for file in sorted({files[1], files[len(files) // 2 + 1]}):
            step = int(file.stem.partition("-")[2])
            resumed = fitted(case, Path(folder) / file.stem, file)
            now, loaded = held(case.fresh()), held(_loaded(case, file))
            ends = held(straight), held(resumed)
            states = straight.state_dict(), resumed.state_dict()
            found.append(Pair(step, now, snapshots.of_step[step], loaded, ends, states))
        return found


def fitted(
    case: Case, folder: Path, start: Path | None, *more: L.Callback, **options: Any
) -> L.LightningModule:
    """The method after two epochs, a checkpoint a step kept in the folder.

    Args:
        case: its method and data are copied.
        folder: becomes the run directory.
        start: checkpoint to continue from; None for a new training.
        *more: further callbacks.
        **options: arguments of the Trainer.
    """
    method = case.fresh()
    keep = Checkpoints(monitor=None, keep_every_n_steps=1)
    parts = 1 if case.manual or not _divisible(case) else PARTS
    callbacks = [Reseed(), *more, keep]
    options |= {"max_epochs": 2, "accumulate_grad_batches": parts}
    trainer = quiet_trainer(folder, *callbacks, **options)
    given: Any = {"ckpt_path": start, "weights_only": True} if start else {}
    trainer.fit(method, datamodule=case.fresh_data(), **given)
    return method


def _loaded(case: Case, file: Path) -> L.LightningModule:
    method, content = case.fresh(), checkpoints.read(file)
    method.on_load_checkpoint(content)
    method.load_state_dict(content["state_dict"])
    return method


def _copied(found: dict[str, Any]) -> dict[str, Any]:
    return {n: v.clone() if isinstance(v, Tensor) else v for n, v in found.items()}


def _divisible(case: Case) -> bool:
    return int(getattr(case.data, "batch_size", 0)) % PARTS == 0


def once(case: Case, ranks: Ranks) -> Finding:
    """Momentum copies move, once per optimiser step, however many batches it accumulates."""
    found = []
    for parts in (1, PARTS):
        method = case.fresh_plain()
        still = _away(method)
        batches: list[Batch] = [b for b in case.batches[:2] for _ in range(parts)]
        own = "accumulate_grad_batches" in method.hparams
        if case.manual and own:
            method.hparams["accumulate_grad_batches"] = parts
            batches = case.batches[:4]
        options = {} if case.manual else {"accumulate_grad_batches": parts}
        train(method, case.fresh_data(), batches, Recorder(still=True), **options)
        found.append({n: p.detach() for n, p in method.named_parameters() if n in still})
    apart, where = worst([("", found[1], found[0])])
    for name, before in still.items():
        if "_ema" in name and torch.equal(found[0][name], before):
            return Finding("once", False, note=f"{name} does not move")
    return Finding("once", apart < 1e-6, apart, where if apart >= 1e-6 else _moved(found[0], still))


@torch.no_grad()
def _away(method: L.LightningModule) -> dict[str, Tensor]:
    """Move everything that no optimiser trains away from what it follows; as it then is."""
    still = {n: p for n, p in method.named_parameters() if not p.requires_grad}
    generator = torch.Generator().manual_seed(5)
    for p in still.values():
        p.add_(torch.randn(p.shape, generator=generator))
    return {name: p.clone() for name, p in still.items()}


def _moved(now: dict[str, Tensor], before: dict[str, Tensor]) -> str:
    count = sum(not torch.equal(now[name], before[name]) for name in before)
    return f"{count} of {len(before)} untrained parameters moved"


def weights_only(case: Case, ranks: Ranks) -> Finding:
    """Hyper-parameters are plain: read without code they make a method of the same output."""
    method = case.fresh()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hyper_parameters.pt"
        torch.save(dict(method.hparams), file)
        found = torch.load(file, weights_only=True)
    if found != dict(method.hparams):
        changed = [k for k, v in method.hparams.items() if found.get(k) != v]
        return Finding("weights_only", False, note=f"changed: {', '.join(changed)}")
    spec = checkpoints.spec(method)
    again = type(method)(**spec["init_args"])
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (again, method)]
    if shapes[0] != shapes[1]:
        return Finding("weights_only", False, note="another method comes of them")
    again.load_state_dict(method.state_dict())
    one, other = (_output(m, case.batches[0]) for m in (again, method))
    same = not _apart(one, other)
    return Finding("weights_only", same, note="" if same else "its output is another")


@torch.no_grad()
def _output(method: L.LightningModule, batch: Batch) -> dict[str, Any]:
    """Output of ``forward`` for a batch's images in evaluation; nothing without a ``forward``."""
    if type(method).forward is L.LightningModule.forward:
        return {}
    part = next((value for value in batch.values() if isinstance(value, dict)), batch)
    images = part["views"][0] if "views" in part else part["image"]
    torch.manual_seed(0)
    found: dict[str, Any] = {}
    _collect("output", method.eval()(images), found, 0)
    return found


def held(method: L.LightningModule) -> dict[str, Any]:
    """Every tensor and number in a method, by its place, without those of metrics."""
    found: dict[str, Any] = {}
    metrics = [name for name, m in method.named_modules() if isinstance(m, Metric)]
    for prefix, module in method.named_modules():
        if any(prefix == m or prefix.startswith(f"{m}.") for m in metrics):
            continue
        places: dict[str, Any] = dict(module.named_parameters(recurse=False))
        places |= dict(module.named_buffers(recurse=False))
        places |= {k: v for k, v in vars(module).items() if k not in OUTSIDE}
        for key, value in places.items():
            _collect(f"{prefix}.{key}".strip("."), value, found, 0)
    return found


def _collect(place: str, value: Any, found: dict[str, Any], depth: int) -> None:
    if isinstance(value, Tensor):
        found[place] = value.detach()
    elif isinstance(value, bool | int | float | str):
        found[place] = value
    elif depth < 4 and isinstance(value, list | tuple):
        for k, inner in enumerate(value):
            _collect(f"{place}.{k}", inner, found, depth + 1)
    elif depth < 4 and isinstance(value, dict):
        for k, inner in value.items():
            _collect(f"{place}.{k}", inner, found, depth + 1)
    elif isinstance(value, torch.nn.Module) and not isinstance(value, Metric | L.LightningModule):
        found |= {f"{place}.{name}": v for name, v in value.state_dict().items()}  # not registered
    elif depth < 4 and _own(value):
        _collect(place, vars(value), found, depth + 1)


def _own(value: Any) -> bool:
    """An object of a method's author, neither a module nor of a library."""
    if isinstance(value, torch.nn.Module | L.Trainer | type) or not hasattr(value, "__dict__"):
        return False
    top = type(value).__module__.partition(".")[0]
    return top not in ("torch", "lightning", "torchmetrics", "timm", "builtins", "functools")


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)
