"""Checkpoints in and out: loading methods safely by the class that the file names."""

from genlab.checkpoints.load import CheckpointError, build, load, read, spec

__all__ = ["CheckpointError", "build", "load", "read", "spec"]
