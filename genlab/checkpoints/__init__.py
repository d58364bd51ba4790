"""Checkpoints in and out.

`identity` tells which checkpoint a name means and what it is. It is read safely in `safe_read`,
without running code from the file; `loading` makes the method that it names, `writing` writes
atomically, `state` is what a training goes on from. `foreign` loads others' weights into a
backbone, `export` writes weights for other programs.
"""

from genlab.checkpoints.foreign.heads import class_names_of, load_head
from genlab.checkpoints.foreign.pretrained import backbone_of, load_backbone
from genlab.checkpoints.foreign.report import Report
from genlab.checkpoints.identity import chosen, identify, in_words, parents
from genlab.checkpoints.loading import (
    build,
    check_finite,
    described,
    load,
    read,
    refuse_files,
    restore,
    spec,
    without_download,
)
from genlab.checkpoints.writing import AtomicCheckpointIO
from genlab.errors import CheckpointError

__all__ = [
    "AtomicCheckpointIO",
    "CheckpointError",
    "Report",
    "backbone_of",
    "build",
    "check_finite",
    "chosen",
    "class_names_of",
    "described",
    "identify",
    "in_words",
    "load",
    "load_backbone",
    "load_head",
    "parents",
    "read",
    "refuse_files",
    "restore",
    "spec",
    "without_download",
]
