"""A checkpoint to forge, a module that leaves a mark when it runs, and what a refusal is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.cli import run as run_words
from tests.conftest import Here

EVIL = """
import lightning as L
from lightning.pytorch.profilers import SimpleProfiler
from pathlib import Path
Path("MARK").touch()
def call(*_, **__): Path("MARK").touch()
class Data(L.LightningDataModule):
    def __init__(self, **_): call()
class Method(L.LightningModule):
    def __init__(self, **_):
        super().__init__()
        call()
class Watcher(L.Callback):
    def __init__(self, **_): call()
"""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny runs by their methods, made once in this process; look, do not change."""
    folder = tmp_path_factory.mktemp("trained")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    tiny = ("trainer.max_steps=1", "track.wandb=off", "trainer.limit_val_batches=1",
            "track.test_after_fit=false")  # fmt: skip
    for recipe in ("vae/digits", "vqvae/digits", "classifier/digits"):
        run_words(["fit", recipe, *tiny])
    patch.undo()
    return {path.parts[-3]: path for path in folder.glob("runs/*/digits/*")}


class Stranger:
    """A folder with a module of the stranger's, and forged files."""

    def __init__(self, here: Here) -> None:
        self.here, self.folder = here, here.folder
        (self.folder / "evil.py").write_text(EVIL)

    @property
    def marked(self) -> bool:
        """Whether anything of the stranger's has run."""
        return (self.folder / "MARK").exists()

    def forge(self, run: Path, change: Callable[[dict[str, Any]], None]) -> str:
        """A copy of a run's checkpoint with another content."""
        content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        change(content)
        torch.save(content, self.folder / "x.ckpt")
        return "x.ckpt"

    def refused(self, *words: str, name: str = "") -> str:
        """The two lines of a command that ends with exit code 2 and runs nothing."""
        _, err = self.here(*words, code=2)
        lines = [line for line in err.splitlines() if line.strip()]
        assert len(lines) <= 2, err
        if name:
            assert name in lines[0]
            assert f"--trust {name}" in lines[1]
        assert not self.marked
        assert "evil" not in sys.modules
        return err


@pytest.fixture
def stranger(here: Here, monkeypatch: pytest.MonkeyPatch) -> Stranger:
    """A stranger's folder is the working directory, and on the path, as bad as can be."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(here.folder)])
    monkeypatch.delitem(sys.modules, "evil", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(here.folder / "config"))
    return Stranger(here)
