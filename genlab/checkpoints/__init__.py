"""Checkpoints in and out: loading methods safely by the class that the file names, and writing."""

from genlab.checkpoints.load import (
    CheckpointError,
    build,
    described,
    load,
    read,
    restore,
    spec,
    without_download,
)
from genlab.checkpoints.write import AtomicCheckpointIO

__all__ = [
    "AtomicCheckpointIO",
    "CheckpointError",
    "build",
    "described",
    "load",
    "read",
    "restore",
    "spec",
    "without_download",
]
