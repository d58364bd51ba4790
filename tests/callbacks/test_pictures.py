"""Grids of samples and reconstructions: which images they show, and how they name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genlab.callbacks import Pictures
from genlab.data import FactorShapes
from genlab.drawing.lettering import GAP, class_names
from genlab.drawing.text import LINE
from tests.callbacks.tiny import Line, digits, trainer


class Copying(Line):
    """Reconstructs by copying, and swaps styles by brightness."""

    num_classes = 3

    def reconstruct(self, image: Tensor) -> Tensor:
        return image

    def swap_styles(self, image: Tensor, label: Tensor) -> Tensor:
        return torch.stack([image * k / 2 for k in range(3)], 1)


def test_reconstructions_are_of_images_all_over_the_split(tmp_path: Path) -> None:
    data = FactorShapes(batch_size=64, val_size=500)
    pictures = Pictures(count=32)
    fit = trainer(tmp_path, pictures, max_steps=1, limit_val_batches=1)
    fit.fit(Copying(), datamodule=data)
    batch: Any = pictures._batch
    assert len(batch["image"]) == 16
    first = next(iter(data.bank_dataloader("val")))["label"][:16].unique()
    assert len(first) < len(batch["label"].unique()) == 3


def test_grids_have_a_title_and_styles_heads(tmp_path: Path) -> None:
    fit = trainer(tmp_path, Pictures(count=16), max_steps=1)
    fit.fit(Copying(), datamodule=digits())
    shapes = {"reconstructions": (2, 8, 1), "styles": (8, 4, 2)}  # rows, columns, lines above
    for name, (rows, columns, above) in shapes.items():
        file = tmp_path / "pictures" / f"{name}-00000001.png"
        with Image.open(file) as picture:
            found = np.asarray(picture)
        wide = max(columns * 50 + 2, 240)
        lines = (found.shape[0] - rows * 50 - 2 - GAP) / LINE
        assert found.shape[1] == wide
        assert lines in (above, above + 1)  # a long title has two lines
        assert (found[: LINE + GAP] < 128).any()


def test_classes_without_fitting_names_are_numbers() -> None:
    assert class_names(["cat", "dog"], 2) == ["cat", "dog"]
    assert class_names(["cat", "dog"], 3) == class_names(None, 3) == ["0", "1", "2"]
