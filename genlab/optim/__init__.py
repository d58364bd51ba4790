"""Optimisers and their schedules, built from a recipe's plain dictionary.

`building` documents every key of ``model.optimizer``; `checking` validates them. `names` finds
optimisers of timm and torch, `lars` is genlab's own; `groups` gives parameters their weight decay
and rate, `schedules` a rate to every step, `step_plan` steps to epochs; `clip` and `sam` work
through `hooks`. `finiteness` tells whether gradients are finite.
"""

from genlab.optim.building import build
from genlab.optim.checking import check
from genlab.optim.schedules import total_steps
from genlab.optim.step_plan import StepPlan

__all__ = ["StepPlan", "build", "check", "total_steps"]
