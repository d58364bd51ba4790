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
    """A training that went straight through and one that was continued, at the same step."""

    fresh: L.LightningModule
    straight: L.LightningModule
    resumed: L.LightningModule
    step: int


def resume(case: Case, ranks: Ranks) -> Finding:
    """A resumed training equals the straight one to the bit, in mid-epoch, with accumulation."""
    for pair in pairs(case):
        found, where = worst([("", pair.resumed.state_dict(), pair.straight.state_dict())])
        if found:
            return Finding("resume", False, found, f"{where}, from step {pair.step}")
    moved, _ = worst([("", pair.straight.state_dict(), pair.fresh.state_dict())])
    return Finding("resume", moved > 0, 0.0, "" if moved else "nothing was trained")


def checkpoint(case: Case, ranks: Ranks) -> Finding:
    """Everything that training changes is in the checkpoint, attributes included."""
    for pair in pairs(case):
        before, straight, resumed = map(held, (pair.fresh, pair.straight, pair.resumed))
        lost = [
            name
            for name, value in straight.items()
            if name not in before or not _equal(value, before[name])
            if name not in resumed or not _equal(value, resumed[name])
        ]
        trained = {name for name, p in pair.fresh.named_parameters() if p.requires_grad}
        lost.sort(key=trained.__contains__)  # weights that differ are what comes of it
        if lost:
            return Finding("checkpoint", False, None, f"{lost[0]}, from step {pair.step}")
    return Finding("checkpoint", True, 0.0)


def pairs(case: Case) -> list[Pair]:
    """Straight and resumed trainings of two epochs, from a step of each; made once for a case."""
    if not hasattr(case, "_pairs"):
        case._pairs = _pairs(case)  # type: ignore[attr-defined]
    found: list[Pair] = case._pairs  # type: ignore[attr-defined]
    return found


def _pairs(case: Case) -> list[Pair]:
    with tempfile.TemporaryDirectory() as folder:
        straight = _fit(case, Path(folder) / "straight", None)
        files = sorted((Path(folder) / "straight/checkpoints").glob("step-*.ckpt"))
        chosen = {files[1], files[len(files) // 2 + 1]}
        return [
            Pair(
                case.fresh(),
                straight,
                _fit(case, Path(folder) / file.stem, file),
                int(file.stem.partition("-")[2]),
            )
            for file in sorted(chosen)
        ]


def _fit(case: Case, folder: Path, start: Path | None) -> L.LightningModule:
    method = case.fresh()
    keep = Checkpoints(monitor=None, keep_every_n_steps=1)
    parts = 1 if case.manual or not _divisible(case) else PARTS
    callbacks = [Reseed(), keep]
    trainer = quiet_trainer(folder, *callbacks, max_epochs=2, accumulate_grad_batches=parts)
    given: Any = {"ckpt_path": start, "weights_only": True} if start else {}
    trainer.fit(method, datamodule=case.fresh_data(), **given)
    return method


def _divisible(case: Case) -> bool:
    return int(getattr(case.data, "batch_size", 0)) % PARTS == 0


def once(case: Case, ranks: Ranks) -> Finding:
    """Momentum copies move once per optimiser step, however many batches it accumulates."""
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
    """Hyper-parameters are plain: a file read without code gives them back, and the method."""
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
    same = shapes[0] == shapes[1]
    return Finding("weights_only", same, note="" if same else "another method comes of them")


def held(method: L.LightningModule) -> dict[str, Any]:
    """Every tensor and number that a method holds, by its place; figures of metrics left out."""
    found: dict[str, Any] = {}
    metrics = [name for name, m in method.named_modules() if isinstance(m, Metric)]
    for prefix, module in method.named_modules():
        if any(prefix == m or prefix.startswith(f"{m}.") for m in metrics):
            continue
        places = {**module._parameters, **module._buffers}
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
