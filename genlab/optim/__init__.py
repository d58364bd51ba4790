"""Optimisers and their schedules, built from a recipe's plain dictionary."""

from genlab.optim.build import build
from genlab.optim.check import check

__all__ = ["build", "check"]
