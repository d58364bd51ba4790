"""Checkpoints in and out: methods by the class that the file names, pretrained weights, writing."""

from genlab.checkpoints.load import (
    build,
    described,
    load,
    read,
    restore,
    spec,
    without_download,
)
from genlab.checkpoints.pretrained import backbone_of, load_backbone
from genlab.checkpoints.report import CheckpointError, Report
from genlab.checkpoints.write import AtomicCheckpointIO

__all__ = [
    "AtomicCheckpointIO",
    "CheckpointError",
    "Report",
    "backbone_of",
    "build",
    "described",
    "load",
    "load_backbone",
    "read",
    "restore",
    "spec",
    "without_download",
]
