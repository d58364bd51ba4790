"""Optimisers and their schedules, built from a recipe's plain dictionary."""

from genlab.optim.building import build
from genlab.optim.checking import check
from genlab.optim.schedules import total_steps

__all__ = ["build", "check", "total_steps"]
