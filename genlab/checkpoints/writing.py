"""Writing checkpoints so that no moment exists in which a file is half there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from genlab.files import rewriting


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes next to the target, flushes to the disk, renames: old file or new, never a part.

    Attributes:
        writing: a file is being written right now.
    """

    writing = False

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write ``checkpoint`` to ``path``; on any failure the file that was there stays."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.writing = True
        try:
            with rewriting(target, sync=True) as file:
                torch.save(checkpoint, file)
        finally:
            self.writing = False
