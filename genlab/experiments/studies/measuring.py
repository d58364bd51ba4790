"""Columns of a table: kNN, probes and effective rank of a run's features."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab import metrics, recipes
from genlab.evaluation.feature_quality import features_of
from genlab.evaluation.probes import fixed_probe
from genlab.experiments.studies.cells import Cell
from genlab.experiments.studies.columns import INNER
from genlab.experiments.studies.table import Probe, Table
from genlab.metrics import Bank, geometry
from genlab.training.building import Lab, build
from genlab.training.opened import figures_of, open_run
from genlab.training.record import finite

QUARTERS = 2  # rows and columns of means that an inner layer's features are


class RawPixels(nn.Module):
    """The image itself as features."""

    device = torch.device("cpu")

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C H W)."""
        return image.flatten(1)


class InnerLayer(nn.Module):
    """Features that enter the last stage of a method's encoder, means of quarters.

    Args:
        method: method with a convolutional encoder.
    """

    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method, self.device = method, method.device
        first = method.encoder.layer_groups[-1][0].rpartition(".")[0]
        module = method.encoder.backbone.get_submodule(first)
        self._entered: list[Tensor] = []
        module.register_forward_pre_hook(lambda _, given: self._entered.append(given[0]))

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 4 F')."""
        self._entered.clear()
        self.method.encoder(image)
        return F.adaptive_avg_pool2d(self._entered[-1], QUARTERS).flatten(1)


def measure(cell: Cell, table: Table, run: Path) -> dict[str, Any]:
    """Every column of a cell, in fractions: ``val/knn``; of seeds also ``test/knn``.

    Trials have no result of the test images.

    Args:
        cell: cell, whose run has ended.
        table: its table.
        run: its run directory.
    """
    with recipes.allow(_foreign(cell)), tempfile.TemporaryDirectory() as place:
        lab = open_run([str(run)], [])[0] if cell.row.trained else _drawn(cell, Path(place))
        lab.model.eval()
        found = _columns(_network(cell, lab), lab.data, table.probe, not cell.searched)
        if table.inner and cell.row.kind in ("pretext", "untrained") and _has_stages(cell, lab):
            inner = _columns(InnerLayer(lab.model), lab.data, table.probe, not cell.searched)
            found |= {f"{key}{INNER}": value for key, value in inner.items()}
        if cell.row.kind == "pretext" and not cell.searched:
            found |= {f"task {key}": value for key, value in figures_of(lab, "validate").items()}
    return {key: finite(value) for key, value in found.items()}


def _foreign(cell: Cell) -> list[str]:
    """The class of another library's method, which its run may name."""
    return [str(cell.row.config["model"]["class_path"])] if cell.row.kind == "peer" else []


def _has_stages(cell: Cell, lab: Lab) -> bool:
    """True if there is a layer before the last stage, as a convolutional network knows it."""
    encoder: Any = lab.model.encoder
    return cell.row.convolutional and len(encoder.layer_groups) > 1


def _drawn(cell: Cell, place: Path) -> Lab:
    """A method as its seed draws it."""
    words = [*cell.row.words, *cell.words, f"seed_everything={cell.seed}"]
    lab = build(recipes.resolve([cell.row.recipe], words), place)
    lab.data.trainer = lab.trainer
    lab.data.prepare_data()
    lab.data.setup("test")
    return lab


def _network(cell: Cell, lab: Lab) -> Callable[[Tensor], Tensor]:
    return RawPixels() if cell.row.kind == "raw" else lab.model


def _columns(network: Any, data: Any, probe: Probe, tested: bool) -> dict[str, float]:
    train = _bank(network, data, "train")
    found: dict[str, float] = {}
    for split in ("val", "test") if tested else ("val",):
        bank = _bank(network, data, split)
        knn = metrics.KNN(int(train.label.max()) + 1, min(probe.k, len(train.label)))
        knn.set_bank(train)
        knn.update(*bank)
        found[f"{split}/knn"] = float(knn.compute()["knn_top1"])
        for name, labels in probe.labels.items():
            if tested or labels != 1:  # trials are judged by what is quick
                top1 = fixed_probe(train, bank, labels, probe.strength, probe.draws)
                found[f"{split}/linear {name}"] = top1
        found[f"{split}/rank"] = float(geometry.effective_rank(bank.features))
    return found


def _bank(network: Any, data: Any, split: str) -> Bank:
    found = features_of(network, data, split)
    if found is None:
        raise ValueError(f"a study requires {split} images")
    return found
