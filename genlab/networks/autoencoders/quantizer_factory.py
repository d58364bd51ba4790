"""Quantisers by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genlab.networks.arguments import check_not_negative, check_settings
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
STAGES = 2
OWN: dict[str, tuple[str, int | None]] = {  # argument -> its quantiser, default
    "gumbel": ("gumbel", None),
    "levels": ("fsq", None),
    "lfq": ("lfq", None),
    "stages": ("residual", STAGES),
}
MOST_COUNTED = 2**20  # an epoch's usage counts each code


def quantizer(
    kind: str,
    num_codes: int,
    code_dim: int,
    commitment_weight: float = 0.25,
    ema_decay: float = 0.99,
    restart_below: float = 0.1,
    init_from_data: bool = True,
    kl_weight: float = 1.0,
    gumbel: dict[str, Any] | None = None,
    levels: Sequence[int] | None = None,
    lfq: dict[str, Any] | None = None,
    stages: int = STAGES,
) -> Any:
    """A quantiser by name, with the verbs of `quantizer.Quantizer`.

    Weights and averages that a quantiser lacks have no effect, so that recipes which differ in the
    quantiser alone can share them; settings of another quantiser are refused.

    Args:
        kind: one of ``QUANTIZERS``.
        num_codes: K; of each stage for ``residual``; with ``levels`` their product instead.
        code_dim: D; ``fsq`` and ``lfq`` have one of their own.
        commitment_weight: beta of ||z - sg(e)||^2.
        ema_decay: gamma of the average, for ``ema`` and ``residual``.
        restart_below: codes used less often per step than this restart from the batch, of these
            and of ``gradient``; 0: never.
        init_from_data: take the first codebook of these from the first batch.
        kl_weight: factor of KL(q || uniform), for ``gumbel``.
        gumbel: arguments of `GumbelQuantizer`.
        levels: levels of each number, for ``fsq``; null for the paper's.
        lfq: arguments of `LookupFreeQuantizer`.
        stages: Q of ``residual``.

    Raises:
        ValueError: an unknown name or argument, one of another quantiser, or one out of its range.
    """
    if kind not in QUANTIZERS:
        raise ValueError(f"unknown codebook {kind!r}; choose from {', '.join(QUANTIZERS)}")
    given = {"gumbel": gumbel, "levels": levels, "lfq": lfq, "stages": stages}
    for name, (owner, default) in OWN.items():
        if kind != owner and given[name] != default:
            raise ValueError(f"{name} {given[name]} requires codebook {owner!r}, not {kind!r}")
    check_not_negative(commitment_weight=commitment_weight, kl_weight=kl_weight)
    book: dict[str, Any] = {
        "decay": ema_decay,
        "restart_below": restart_below,
        "init_from_data": init_from_data,
        "commitment_weight": commitment_weight,
    }
    built: Any
    if kind == "gumbel":
        check_settings("codebook gumbel", GumbelQuantizer, gumbel or {})
        built = GumbelQuantizer(num_codes, code_dim, **{"kl_weight": kl_weight} | (gumbel or {}))
    elif kind == "fsq":
        built = FiniteScalarQuantizer(default_levels(num_codes) if levels is None else levels)
    elif kind == "lfq":
        check_settings("codebook lfq", LookupFreeQuantizer, lfq or {})
        built = LookupFreeQuantizer(
            num_codes, **{"commitment_weight": commitment_weight} | (lfq or {})
        )
    elif kind == "residual":
        built = ResidualQuantizer(stages, num_codes, code_dim, **book)
    elif kind == "sim":
        built = SimQuantizer(num_codes, code_dim, commitment_weight=commitment_weight)
    else:
        built = VectorQuantizer(num_codes, code_dim, learn=kind, **book)
    if built.num_codes > MOST_COUNTED:
        source = "num_codes" if levels is None else f"levels {list(levels)}:"
        raise ValueError(f"{source} {built.num_codes:,} codes, at most {MOST_COUNTED:,}")
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
