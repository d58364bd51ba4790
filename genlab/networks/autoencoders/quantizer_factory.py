"""Quantisers by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genlab.networks.arguments import check_settings
from genlab.networks.autoencoders.gumbel_quantizer import GumbelQuantizer
from genlab.networks.autoencoders.quantizer import VectorQuantizer
from genlab.networks.autoencoders.residual_quantizer import ResidualQuantizer
from genlab.networks.autoencoders.scalar_quantizers import (
    SETS,
    FiniteScalarQuantizer,
    LookupFreeQuantizer,
)
from genlab.networks.autoencoders.sim_quantizer import SimQuantizer

QUANTIZERS = ("ema", "gradient", "gumbel", "fsq", "lfq", "residual", "sim")
MOST_COUNTED = 2**20  # an epoch's usage counts each code


def quantizer(
    kind: str,
    num_codes: int,
    code_dim: int,
    codebook: dict[str, Any],
    kl_weight: float = 1.0,
    **own: Any,
) -> Any:
    """A quantiser by name, with the verbs of `quantizer.Quantizer`.

    Args:
        kind: one of ``QUANTIZERS``.
        num_codes: K; of each stage for ``residual``; with ``levels`` their product instead.
        code_dim: D; ``fsq`` and ``lfq`` have one of their own.
        codebook: arguments of `VectorQuantizer`, for ``ema``, ``gradient`` and ``residual``; others
            take their ``commitment_weight``.
        kl_weight: factor of KL(q || uniform), for ``gumbel``.
        **own: arguments of this quantiser alone; ``levels`` of ``fsq``, ``stages`` of ``residual``.

    Raises:
        ValueError: an unknown name or argument, or one out of its range.
    """
    if kind not in QUANTIZERS:
        raise ValueError(f"unknown codebook {kind!r}; choose from {', '.join(QUANTIZERS)}")
    beta = codebook["commitment_weight"]
    built: Any
    if kind == "gumbel":
        check_settings("codebook gumbel", GumbelQuantizer, own)
        built = GumbelQuantizer(num_codes, code_dim, kl_weight=kl_weight, **own)
    elif kind == "fsq":
        built = FiniteScalarQuantizer(own.get("levels") or default_levels(num_codes))
    elif kind == "lfq":
        check_settings("codebook lfq", LookupFreeQuantizer, own)
        built = LookupFreeQuantizer(num_codes, **{"commitment_weight": beta} | own)
    elif kind == "residual":
        built = ResidualQuantizer(own["stages"], num_codes, code_dim, **codebook)
    elif kind == "sim":
        built = SimQuantizer(num_codes, code_dim, commitment_weight=beta)
    else:
        built = VectorQuantizer(num_codes, code_dim, learn=kind, **codebook)
    if built.num_codes > MOST_COUNTED:
        raise ValueError(f"num_codes {built.num_codes} is above {MOST_COUNTED}")
    return built


def default_levels(num_codes: int) -> Sequence[int]:
    """Levels of FSQ's paper for about that many codes.

    Raises:
        ValueError: the paper has none.
    """
    bits = max(1, num_codes).bit_length() - 1
    if num_codes == 1 << bits and bits in SETS:
        return SETS[bits]
    raise ValueError(
        f"fsq requires levels, or one of {', '.join(str(1 << n) for n in SETS)} as num_codes, "
        f"got {num_codes}"
    )
