"""SimCLR at 224 pixels on photographs: a resumed run, two processes, files and shards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from genlab import checkpoints, runs
from genlab.contracts import Batch
from genlab.data.shards.packing import Packing, pack
from genlab.methods import SimCLR

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # 24 commands
SETTINGS = [
    "data.image_size=224", "data.crop_ratio=0.875", "data.batch_size=8", "data.val_size=0.1",
    "data.unlabeled=true", "trainer.precision=32-true", "trainer.sync_batchnorm=false",
    "trainer.limit_val_batches=1", "trainer.log_every_n_steps=1", "model.encoder=small_cnn",
    "model.projector_dims=[32,16]", "model.encoder_kwargs={}", "trainer.callbacks=[]",
    "checkpoint.monitor=null", "track.wandb=off", "model.optimizer.schedule=constant",
]  # fmt: skip


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 of BSDS300's photographs, 481 x 321 pixels."""
    source = Path(os.environ.get("GENLAB_DATA", "nowhere"), "BSDS300", "images", "train")
    if not source.is_dir():
        pytest.skip("GENLAB_DATA has no BSDS300")
    root = tmp_path_factory.mktemp("photographs")
    for file in sorted(source.glob("*.jpg"))[:40]:
        (root / file.name).symlink_to(file)
    return root


class AllViews(SimCLR):
    """SimCLR's loss of two views after two, which are equally large."""

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        views = batch["views"]
        pairs: list[Batch] = [{**batch, "views": views[k : k + 2]} for k in (0, 2, 4, 6)]
        losses = [SimCLR.training_step(self, pair, batch_idx)["loss"] for pair in pairs]
        return {"loss": torch.stack(losses).mean()}


def fit(folder: Path, run: str, *words: str) -> dict[str, Tensor]:
    """Weights after a command, with its run directory named."""
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"GENLAB_RUN_ID": run, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "genlab", "fit", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = folder.glob(f"runs/**/{run}")
    return checkpoints.read(runs.checkpoint(path))["state_dict"]


def alike(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("views", ["simclr", "multicrop"])
def test_a_resumed_run_is_the_straight_one_on_one_and_two_processes_from_files_and_shards(
    photographs: Path, tmp_path: Path, views: str
) -> None:
    pack(photographs, tmp_path / "shards", Packing())
    method = [f"model={__name__}.AllViews"] if views == "multicrop" else []
    words = ["simclr/imagenet100", *method, *SETTINGS, f"data.views={views}"]
    straight = {}
    for name, root in {"files": photographs, "shards": tmp_path / "shards"}.items():
        for devices in (1, 2):
            run = f"{name}{devices}"
            where = [f"data.root={root}", f"trainer.devices={devices}"]
            straight[run] = fit(tmp_path, run, *words, *where, "trainer.max_steps=3")
            fit(tmp_path, f"{run}-again", *words, *where, "trainer.max_steps=2")
            (path,) = tmp_path.glob(f"runs/**/{run}-again")
            again = fit(tmp_path, f"{run}-again", "--resume", str(path), "trainer.max_steps=3")
            assert alike(straight[run], again), run
    assert alike(straight["files1"], straight["shards1"])
    assert alike(straight["files2"], straight["shards2"])
