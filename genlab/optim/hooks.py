"""The closure that an optimiser's step is called with, and its replacement in a step hook.

Lightning computes the gradient inside ``optimizer.step(closure)``: a hook that runs before the step
sees last step's gradient. So what concerns the gradient wraps the closure. With a gradient scaler
(``16-mixed``) the step is called without a closure, the gradient ready and unscaled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Closure = Callable[[], Any]


def closure_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Closure | None:
    """Find the closure among the arguments of ``step`` (the first is the optimiser)."""
    return args[1] if len(args) > 1 else kwargs.get("closure")


def with_closure(
    args: tuple[Any, ...], kwargs: dict[str, Any], closure: Closure
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of ``step`` with another closure."""
    return args[:1], kwargs | {"closure": closure}
