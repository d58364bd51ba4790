"""What the always-present callbacks promise."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from genlab import checkpoints, runs
from genlab.drawing.grid import grid, write
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import Line, digits, trainer

pytestmark = pytest.mark.filterwarnings("ignore:The number of training batches")


def test_noise_depends_on_the_place_in_the_run_only(tmp_path: Path) -> None:
    noise = []
    for _ in range(2):
        torch.manual_seed(torch.seed())
        model = Line()
        trainer(tmp_path, Reseed(), Checkpoints()).fit(model, datamodule=digits())
        noise.append(model.noise)
    assert noise[0] == noise[1]
    assert len(set(noise[0])) == len(noise[0]) == 20


def test_best_is_the_best_and_last_the_last(tmp_path: Path) -> None:
    keep = Checkpoints(keep_every_n_steps=7)
    trainer(tmp_path, keep, max_epochs=4).fit(Line(), datamodule=digits())
    names = {p.name for p in (tmp_path / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "step-00000007.ckpt", "step-00000014.ckpt",
                     "step-00000021.ckpt", "step-00000028.ckpt", "step-00000035.ckpt"}  # fmt: skip
    best = checkpoints.read(tmp_path / "checkpoints" / "best.ckpt")
    last = checkpoints.read(tmp_path / "checkpoints" / "last.ckpt")
    assert last["global_step"] == 40
    score = (best["state_dict"]["weight"] - 0.3).abs().item()
    assert score == pytest.approx(keep.best["score"], abs=1e-6)
    assert best["global_step"] == keep.best["step"]


def test_a_monitor_that_nobody_logs_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"val/los .*val/loss"):
        trainer(tmp_path, Checkpoints(monitor="val/los")).fit(Line(), datamodule=digits())


def test_no_checkpoint_inside_an_accumulation_window(tmp_path: Path) -> None:
    seen = []

    class Spy(Checkpoints):
        def _save(self, trainer: Any, name: str) -> None:
            seen.append((trainer.fit_loop.epoch_loop.batch_idx + 1) % 2 == 0)
            super()._save(trainer, name)

    fit = trainer(tmp_path, Spy(every_n_steps=1), accumulate_grad_batches=2)
    fit.fit(Line(), datamodule=digits(batch_size=64))
    assert seen
    assert all(seen)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    io = checkpoints.AtomicCheckpointIO()
    io.save_checkpoint({"state_dict": {}, "n": 1}, file)
    with pytest.raises(Exception, match="pickle"):
        io.save_checkpoint({"state_dict": {}, "n": lambda: 0}, file)
    assert checkpoints.read(file)["n"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_the_newest_whole_checkpoint_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (tmp_path / "recipe.yaml").write_text("")
    assert runs.newest(tmp_path) is None
    io = checkpoints.AtomicCheckpointIO()
    for step, name in enumerate(("step-1.ckpt", "last.ckpt")):
        io.save_checkpoint({"state_dict": {"w": torch.randn(1000)}, "n": step}, folder / name)
    assert runs.newest(tmp_path) == folder / "last.ckpt"
    data = (folder / "last.ckpt").read_bytes()
    (folder / "last.ckpt").write_bytes(data[: len(data) // 2])
    assert runs.newest(tmp_path) == folder / "step-1.ckpt"
    (folder / "last.ckpt").write_bytes(data[:3000] + b"\0" * 40 + data[3040:])
    assert runs.newest(tmp_path) == folder / "step-1.ckpt"


def test_grids_enlarge_small_images_without_blurring(tmp_path: Path) -> None:
    images = torch.rand(10, 1, 8, 8)
    sheet = grid(images, columns=5)
    assert sheet.shape == (2 * 50 + 2, 5 * 50 + 2, 3)
    tile = sheet[2:50, 2:50, 0].reshape(8, 6, 8, 6)
    assert (tile == tile[:, :1, :, :1]).all()
    assert (abs(tile[:, 0, :, 0] / 255.0 - images[0, 0].numpy()) < 0.51 / 255).all()
    with Image.open(write(grid(images), tmp_path / "a" / "x.png")) as picture:
        assert picture.size == (4 * 50 + 2, 3 * 50 + 2)


def test_nothing_here_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        import genlab.callbacks  # noqa: F401
