"""Frey Faces: three parts of one film, as vectors that grids show as frames."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from genlab.callbacks import pictures as module
from genlab.callbacks.pictures import Pictures
from genlab.data import BrokenDataError, FreyFaces, MissingDataError
from tests.conftest import Here
from tests.data.test_vectors import rows


def written(root: Path, images: np.ndarray) -> str:
    (root / "frey_faces").mkdir()
    np.savez(root / "frey_faces" / "frey_faces.npz", images=images)
    return str(root)


def film() -> np.ndarray:
    """Frame i has i % 256 in its first pixel, i // 256 in its second, 255 in its last."""
    found = np.zeros((1965, 28, 20), np.uint8)
    found[:, 0, 0], found[:, 0, 1] = np.arange(1965) % 256, np.arange(1965) // 256
    found[:, -1, -1] = 255
    return found


def test_parts_are_the_film_without_overlap(tmp_path: Path) -> None:
    data = FreyFaces(root=written(tmp_path, film()), batch_size=100)
    places = {}
    for part, count in (("train", 1565), ("val", 200), ("test", 200)):
        found = rows(data, part)
        assert found.shape == (count, 560, 1, 1)
        assert (found[:, -1] == 1).all()
        numbers = (found[:, :2, 0, 0] * 255).round().long()
        places[part] = (numbers[:, 0] + 256 * numbers[:, 1]).tolist()
        assert places[part] == data.splits()[part].tolist()
    assert sorted(chain.from_iterable(places.values())) == list(range(1965))


def test_grids_show_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = FreyFaces(root=written(tmp_path, film()))
    shown: list[Any] = []
    monkeypatch.setattr(module, "grid", lambda images, columns: shown.append(images))
    monkeypatch.setattr(module, "lettered", lambda *given: None)
    monkeypatch.setattr(module, "publish", lambda *given: None)
    trainer: Any = SimpleNamespace(datamodule=data, global_step=0, callbacks=[])
    image = torch.rand(3, 560, 1, 1)
    method: Any = None
    Pictures()._keep(trainer, method, module.Sheet("samples", image, None, "samples", [], []))
    assert shown[0].shape == (3, 1, 28, 20)
    assert torch.equal(shown[0][1, 0, 2], image[1, 40:60, 0, 0])


def test_other_content_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no file .*frey_faces\.npz"):
        FreyFaces(root=str(tmp_path)).setup()
    root = written(tmp_path, film()[:, :20])
    with pytest.raises(BrokenDataError, match=r"images are \(1965, 20, 20\) uint8, not"):
        FreyFaces(root=root).setup()
    with pytest.raises(ValueError, match="resize requires images"):
        FreyFaces(resize=8)


def test_the_real_film_is_read() -> None:
    root = Path(os.environ.get("GENLAB_DATA", "nowhere"))
    if not (root / "frey_faces").is_dir():
        pytest.skip("GENLAB_DATA has no frey_faces")
    found = rows(FreyFaces(root=str(root)), "train")
    assert 0.4 < found.mean() < 0.7


def test_commands_show_frames(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples too, which are drawn without the data."""
    shown: list[tuple[int, ...]] = []

    def note(images: torch.Tensor, columns: int | None) -> np.ndarray:
        shown.append(tuple(images.shape))
        return np.zeros((8, 8, 3), dtype=np.uint8)

    monkeypatch.setattr("genlab.drawing.grid.grid", note)
    root = written(here.folder, film())
    words = [
        "model.hidden_dims=[8]",
        "trainer.max_steps=1",
        "data.batch_size=50",
        f"data.root={root}",
    ]
    here("fit", "vae/frey_faces", *words, "track.wandb=off", "trainer.callbacks=[]")
    (run,) = here.runs()
    for command, count in (("sample", 4), ("reconstruct", 8), ("interpolate", 40)):
        shown.clear()
        here(command, str(run), "-n", "4")
        assert shown == [(count, 1, 28, 20)]
