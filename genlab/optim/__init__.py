"""Optimisers and their schedules, built from a recipe's plain dictionary."""

from genlab.optim.build import build, check

__all__ = ["build", "check"]
