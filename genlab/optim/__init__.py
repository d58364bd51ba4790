"""Optimisers and their schedules, built from a recipe's plain dictionary."""

from genlab.optim.build import build

__all__ = ["build"]
