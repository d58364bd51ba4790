"""Further measurements, one a module: ``genlab evaluate RUN --measure adversarial,bands``.

Of classifiers: `adversarial`, `bands`, `occlusion`, `hessian`; of classes given to decoders:
`class_swap`; of encoders: `depths`, `norms`, `styles`; of generators: `paths`; of latents: `ppca`,
of codes: `code_gradients`.

A module has ``measure(method, data, judge)``, which gives a `measured.Measured`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from genlab import faces
from genlab.errors import RecipeError, nearest
from genlab.evaluation.measured import Measured


def names() -> list[str]:
    """Names of all measurements: those of the modules here."""
    return faces.modules(__name__)


def check(asked: Iterable[str]) -> None:
    """Refuse unknown measurements.

    Raises:
        RecipeError: there is none of that name.
    """
    for name in asked:
        if name not in names():
            hint = nearest(name, names()) or f"one of {', '.join(names())}"
            raise RecipeError(f"unknown measurement {name}", hint=hint)


def measure(name: str, method: Any, data: Any, judge: Any = None) -> Measured:
    """A measurement by name, of a method in evaluation mode.

    Args:
        name: name of a module here.
        method: method with its weights.
        data: data module that is set up for testing.
        judge: feature extractor of ``--judge``; None without one.

    Raises:
        ValueError: the method has not what is measured.
    """
    method.eval()
    found: Measured = faces.member(__name__, name).measure(method, data, judge)
    return found
