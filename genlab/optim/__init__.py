"""Optimisers and their schedules, built from a recipe's plain dictionary."""

from genlab.optim.build import build
from genlab.optim.check import check
from genlab.optim.schedules import total_steps

__all__ = ["build", "check", "total_steps"]
