"""Quantisers: a grid of vectors -> a grid of codes, with a gradient that passes through.

Van den Oord, Vinyals, Kavukcuoglu 2017, arXiv:1711.00937 (straight-through; the exponential
average of appendix A.1). Reference code: deepmind/sonnet ``vqvae.py``. The other quantisers have
the verbs of `Quantizer`: `scalar_quantizers`, `residual_quantizer`, `sim_quantizer`,
`gumbel_quantizer`. Departures:
- the average starts from a count of one a code, not zero: codes never used stay where they are;
- the codebook moves once per optimiser step (`VectorQuantizer.update`), not in the forward pass;
- optionally the codebook starts from vectors of the first batch, and codes that fell out of use
  restart from vectors of the current one.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab import distributed
from genlab.losses import vq


class Quantized(NamedTuple):
    """Output of a quantiser."""

    quantized: Tensor  # (B, D, h, w); its gradient goes to the quantiser's input
    codes: Tensor  # (B, h, w) int64
    vectors: Tensor  # (B, D, h, w): the codes' vectors; a gradient goes to a learned codebook;
    # of several stages (B, Q, D, h, w): the sum up to each, with a gradient to its own codebook
    logits: Tensor | None = None  # (B, K, h, w) of the posterior, if there is one


class Quantizer(Protocol):
    """Verbs and sizes of every quantiser.

    Attributes:
        num_codes: K of a stage.
        stages: Q, number of codes a place; their grid is (h, w Q), a place's stages in a row.
        levels: values of the numbers that make up a code, least significant first, if it has any.
        code_dim: D of its input.
    """

    num_codes: int
    stages: int
    levels: tuple[int, ...]
    code_dim: int

    def __call__(self, z: Tensor) -> Quantized:
        """(B, D, h, w) -> codes (B, h, w Q) and their vectors."""

    def embed(self, codes: Tensor) -> Tensor:
        """(B, h, w Q) -> (B, D, h, w)."""

    def terms(self, z: Tensor, found: Quantized) -> dict[str, Tensor]:
        """Terms of the loss by name, (B,) each, of what `forward` found for z."""

    def update(self) -> None:
        """Move what training moves without a gradient; call once per optimiser step."""


def count_codes(codes: Tensor, num_codes: int) -> Tensor:
    """Counts of each code: any shape of int64 -> (K,) float32."""
    flat = codes.flatten()
    ones = torch.ones_like(flat, dtype=torch.float32)
    return ones.new_zeros(num_codes).index_add_(0, flat, ones)


def stage_counts(codes: Tensor, num_codes: int, stages: int = 1) -> Tensor:
    """Counts of each code by stage: (B, h, w Q) int64 -> (Q, K) float32."""
    first = num_codes * torch.arange(stages, device=codes.device)  # (Q,)
    apart = codes.unflatten(-1, (-1, stages)) + first
    return count_codes(apart, stages * num_codes).view(stages, num_codes)


def nearest_code(rows: Tensor, codebook: Tensor) -> Tensor:
    """Index of the nearest code of each row: (N, D), (K, D) -> (N,)."""
    # ||e||^2 - 2 z.e orders the codes as ||z - e||^2 does
    return torch.addmm(codebook.square().sum(1), rows, codebook.T, alpha=-2).argmin(1)


def straight_through(value: Tensor, z: Tensor) -> Tensor:
    """The value to the last bit, with dL/dz exactly the gradient of the result."""
    return value.detach() + (z - z.detach())


class VectorQuantizer(nn.Module):
    """Nearest-neighbour quantiser with a codebook moved by an average or by gradients.

    Args:
        num_codes: K.
        code_dim: D, the width of a code vector.
        learn: ``ema`` (exponential average of the vectors assigned to a code) or ``gradient`` (the
            codebook is a parameter, for a codebook loss).
        decay: gamma of the average.
        eps: Laplace smoothing of the counts where the average is divided by them.
        restart_below: a code whose average count per step falls below this restarts from a random
            vector of the last batch; 0 turns it off.
        init_from_data: start the codebook from vectors of the first training batch.
        commitment_weight: beta of ||z - sg(e)||^2.

    Raises:
        ValueError: an argument is out of its range.
    """

    stages, levels = 1, ()
    codebook: Tensor
    cluster_size: Tensor
    embed_avg: Tensor
    initialised: Tensor
    batch_count: Tensor
    batch_sum: Tensor
    candidates: Tensor

    def __init__(
        self,
        num_codes: int,
        code_dim: int,
        learn: str = "ema",
        decay: float = 0.99,
        eps: float = 1e-5,
        restart_below: float = 0.0,
        init_from_data: bool = False,
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__()
        if num_codes < 2 or code_dim < 1:
            raise ValueError(f"num_codes {num_codes} must be >= 2 and code_dim {code_dim} >= 1")
        if learn not in ("ema", "gradient"):
            raise ValueError(f"unknown learn {learn!r}; choose from ema, gradient")
        if not 0 <= decay < 1:
            raise ValueError(f"ema_decay {decay} must lie in [0, 1)")
        self.num_codes, self.code_dim, self.learn = num_codes, code_dim, learn
        self.decay, self.eps, self.commitment_weight = decay, eps, commitment_weight
        self.restart_below, self.init_from_data = restart_below, init_from_data
        start = torch.empty(num_codes, code_dim).uniform_(-1 / num_codes, 1 / num_codes)
        if learn == "gradient":
            self.codebook = nn.Parameter(start)
        else:
            self.register_buffer("codebook", start)
        self.register_buffer("embed_avg", start.clone())
        self.register_buffer("cluster_size", torch.ones(num_codes))  # raw, never smoothed
        self.register_buffer("initialised", torch.tensor(not init_from_data))
        self.register_buffer("batch_count", torch.zeros(num_codes))
        self.register_buffer("batch_sum", torch.zeros(num_codes, code_dim))
        self.register_buffer("candidates", start.clone())
        self.started = not init_from_data  # a copy of the flag that needs no device sync to read
        self.register_load_state_dict_post_hook(_forget_started)

    def forward(self, z: Tensor) -> Quantized:
        """Replace each vector by its nearest code: z (B, D, h, w)."""
        with torch.autocast(z.device.type, enabled=False):
            z = z if z.dtype == torch.float64 else z.float()
            rows = z.detach().movedim(1, -1).reshape(-1, self.code_dim)  # (N, D), N = B h w
            if self.training and not self.started:
                self._start(rows, len(rows) // len(z))
            nearest = self._nearest(rows)
            if self.training:
                self._record(rows, nearest, len(rows) // len(z))
            codes = nearest.view(len(z), *z.shape[2:])
            e = self.embed(codes).to(z.dtype)
            return Quantized(straight_through(e, z), codes, e)

    def embed(self, codes: Tensor) -> Tensor:
        """Code vectors of indices: (B, h, w) -> (B, D, h, w)."""
        return F.embedding(codes, self.codebook).movedim(-1, 1)

    def terms(self, z: Tensor, found: Quantized) -> dict[str, Tensor]:
        """``commitment``; of a codebook that gradients move ``codebook``, too."""
        terms = {"commitment": self.commitment_weight * vq.commitment(z, found.vectors)}
        if self.learn == "gradient":
            terms["codebook"] = vq.codebook(z, found.vectors)
        return terms

    @torch.no_grad()
    def update(self) -> None:
        """Update the codebook from the batches since the last call; call once per optimiser step.

        Needs no collective: `forward` has recorded the statistics of all ranks.
        """
        self.cluster_size.lerp_(self.batch_count, 1 - self.decay)
        if self.learn == "ema":
            self.embed_avg.lerp_(self.batch_sum, 1 - self.decay)
            total = self.cluster_size.sum()
            smoothed = (self.cluster_size + self.eps) / (total + self.num_codes * self.eps) * total
            self.codebook.copy_(self.embed_avg / smoothed[:, None])
        if self.restart_below > 0:
            self._replace(self.cluster_size < self.restart_below)
        self.batch_count.zero_()
        self.batch_sum.zero_()

    @torch.no_grad()
    def _nearest(self, rows: Tensor) -> Tensor:
        """Index of the nearest code of each row: (N, D) -> (N,)."""
        return nearest_code(rows, self.codebook.to(rows.dtype))

    @torch.no_grad()
    def _start(self, rows: Tensor, per_image: int) -> None:
        """Take the codebook from the first batch, once in the life of the model."""
        if not self.initialised:
            self.candidates.copy_(distributed.all_reduce_sum(self._draw(rows, per_image)))
            self._replace(torch.ones_like(self.cluster_size, dtype=torch.bool))
            self.initialised.fill_(True)
        self.started = True

    @torch.no_grad()
    def _record(self, rows: Tensor, nearest: Tensor, per_image: int) -> None:
        """Add counts and sums of this batch, over all ranks, to those since the last update."""
        rows = rows.to(self.batch_sum.dtype)
        parts = [count_codes(nearest, self.num_codes)[:, None]]
        parts.append(torch.zeros_like(self.batch_sum).index_add_(0, nearest, rows))
        if self.restart_below > 0:
            parts.append(self._draw(rows, per_image))
        every = distributed.all_reduce_sum(torch.cat(parts, dim=1))  # one collective
        count, total, *candidates = every.split([1] + [self.code_dim] * (len(parts) - 1), dim=1)
        self.batch_count += count[:, 0]
        self.batch_sum += total
        if candidates:
            self.candidates.copy_(candidates[0])

    def _draw(self, rows: Tensor, per_image: int) -> Tensor:
        """K random rows of the global batch, those of other ranks left at zero: (N, D) -> (K, D).

        Rank 0's numbers choose for all ranks, so the sum over ranks is the same on each of them
        and, with the images dealt out in turn as the loaders do, the same as for one process with
        the whole batch. Stratified: no row comes twice if there are enough.
        """
        parts = self.num_codes << 20  # [0, 1) in integers: exact, whatever the number of ranks
        strata = torch.arange(0, parts, 1 << 20, device=rows.device)
        place = distributed.broadcast(strata + torch.randint_like(strata, 1 << 20))
        world = distributed.world_size()
        place = place * (len(rows) * world) // parts  # a row of the global batch
        image, inside = place // per_image, place % per_image
        mine = image % world == distributed.rank()
        row = torch.where(mine, image // world * per_image + inside, 0)
        return torch.where(mine[:, None], rows[row], 0).to(self.codebook.dtype)

    def _replace(self, dead: Tensor) -> None:
        """Put the candidates in the place of ``dead`` (K,) codes, average and count included."""
        book = self.codebook.data
        book.copy_(torch.where(dead[:, None], self.candidates, book))
        self.embed_avg.copy_(torch.where(dead[:, None], self.candidates, self.embed_avg))
        self.cluster_size.masked_fill_(dead, 1.0)


def _forget_started(module: nn.Module, incompatible_keys: object) -> None:
    """After loading, the saved flag decides whether the codebook is initialised."""
    assert isinstance(module, VectorQuantizer)
    module.started = False
