"""Adaptation of a recipe's ``encoder_kwargs`` to another encoder."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from genlab import recipes
from genlab.networks.autoencoders.conv import ConvEncoder
from genlab.networks.encoders.backbones import surplus
from genlab.networks.encoders.factory import encoder
from genlab.networks.mlps import mlp
from genlab.recipes import Recipe

# encoders of the autoencoders that are not backbones
PLAIN: dict[str, Callable[..., Any]] = {"conv": ConvEncoder, "mlp": mlp}


def drop_surplus(recipe: Recipe) -> None:
    """Drop arguments of the former encoder that the present one does not take; note them.

    Args:
        recipe: its ``model.encoder_kwargs`` are changed in place.
    """
    arguments = recipe.arguments("model")
    given, name = arguments.get("encoder_kwargs"), arguments.get("encoder")
    older = recipe.outdated.intersection(given) if isinstance(given, dict) else set()
    if not older or not isinstance(given, dict) or not isinstance(name, str):
        return
    if name in PLAIN:
        dropped = sorted(older - inspect.signature(PLAIN[name]).parameters.keys())
    else:
        ours = inspect.signature(encoder).parameters.keys() - {"stem"}
        its = {key: value for key, value in given.items() if key not in ours}
        channels, size = arguments.get("channels", 3), arguments.get("image_size", 32)
        dropped = surplus(name, channels, size, its, older)
    arguments["encoder_kwargs"] = {k: v for k, v in given.items() if k not in dropped}
    if dropped:
        lost = ", ".join(f"{key} {recipes.without_credentials(given[key])!r}" for key in dropped)
        recipe.notes.append(f"model.encoder={name}: {lost} of {recipe.name} no longer applies")
