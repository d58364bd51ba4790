"""CTAugment: RandAugment with strengths learnt from what the classifier still recognises.

Berthelot et al. 2019 (ReMixMatch), arXiv:1911.09785, section 3.2; in FixMatch (Sohn et al. 2020,
arXiv:2001.07685) with a grey square at the end. Reference code google-research/fixmatch.
Departures: images of a step that drew the same bin count alike, whatever their order, so that all
ranks have the same rates; the square's place is drawn, its side is not learnt, as there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab import distributed
from genlab.augment.boxes import inside, square_boxes
from genlab.augment.ct_ops import BINS, CT_OPS, GREY
from genlab.augment.draws import Params, Shape, for_this_rank, uniform, whole
from genlab.augment.ops import by_operation
from genlab.errors import check_names

STREAM, PROBE = 65, 66  # of the batch's seed; see `draws.generator`
LEVELS, MOST = 2, 17  # levels of an operation, bins of a level, at most


class CTAugment(nn.Module):
    """Some of nineteen operations at learnt strengths, then cutout.

    The range of every level of every operation is cut into bins, and each has a rate: how well
    labelled images on which it was tried were recognised, 1 at first. A strong view draws a bin in
    proportion to its rate among those whose rate is near the best one's, then a level within it.
    Draws are made on the CPU and rates stay on the images' device, so that nothing waits.

    Args:
        depth: number of operations applied to each image in turn, drawn with replacement.
        decay: decay of a rate for each image that tried its bin.
        threshold: bins below this share of their level's best rate are never drawn; 0.8 is the
            paper's and its runs' (the class in its code has 0.85 unless told otherwise).
        cutout: side of the grey square as a share of the image's; its centre is a uniform pixel
            and it is cut off at the borders; 0 for none.
        ops: names out of `ct_ops.BINS`; None for all nineteen.

    Raises:
        ValueError: a value out of range, or an unknown operation.
    """

    bins: Tensor
    rates: Tensor

    def __init__(
        self,
        depth: int = 2,
        decay: float = 0.99,
        threshold: float = 0.8,
        cutout: float = 0.5,
        ops: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        check_names("strong", ops or (), BINS, "operation")
        if depth < 0:
            raise ValueError(f"strong: depth {depth} must be at least 0")
        for name, value in {"decay": decay, "threshold": threshold, "cutout": cutout}.items():
            if not 0 <= value <= 1:
                raise ValueError(f"strong: {name} must be in 0 ... 1, not {value}")
        self.depth, self.decay, self.threshold, self.cutout = depth, decay, threshold, cutout
        self.ops = list(ops or BINS)
        bins = [(*BINS[name], 0, 0)[:LEVELS] for name in self.ops]
        self.register_buffer("bins", torch.tensor(bins))  # (O, L)
        self.register_buffer("rates", torch.ones(len(bins), LEVELS, MOST))
        self.reset()

    def reset(self) -> None:
        """Reset the rates of all existing bins to 1."""
        self.rates = self._there().float()

    @torch.no_grad()
    def forward(self, image: Tensor, seed: int) -> Tensor:
        """Augment this process's share of a batch.

        Args:
            image: (B, C, H, W) float in [0, 1].
            seed: batch seed, equal on all ranks.

        Returns:
            Same shape, in [0, 1]; the argument is left as it is.
        """
        return self.apply_to(image, self._drawn(image, seed, STREAM))

    @torch.no_grad()
    def probe(self, image: Tensor, seed: int) -> Params:
        """Images at uniform levels, without the square at the end, to learn the rates from.

        Args:
            image: (B, C, H, W) float in [0, 1], this process's share.
            seed: batch seed, equal on all ranks.

        Returns:
            ``image`` (B, C, H, W), and what was tried on each: ``op`` (B, depth) and ``bin``
            (B, depth, 2).
        """
        drawn = self._drawn(image, seed, PROBE)
        op, level = drawn["op"], drawn["choice"]
        image = self._do(image, op, level, drawn["place"])
        return {"image": image, "op": _sent(op, image), "bin": self._bin(op, level, image)}

    def draw(self, shape: Shape, generator: torch.Generator) -> Params:
        """Draws for N images; they do not depend on the rates.

        Returns:
            ``op`` (N, depth); ``choice``, ``within`` and ``place``, (N, depth, 2) in [0, 1);
            ``cutout`` (N, 4).
        """
        slots = (shape[0], self.depth)
        drawn = {"op": whole(torch.full(slots, len(self.ops) - 1), generator)}
        for name in ("choice", "within", "place"):
            drawn[name] = uniform((*slots, 2), 0.0, 1.0, generator)
        drawn["cutout"] = square_boxes(shape, round(self.cutout * shape[3]), generator)
        return drawn

    def apply_to(self, image: Tensor, drawn: Params) -> Tensor:
        """Apply the operations drawn for the images (N, C, H, W), at levels given by the rates."""
        level = self.levels(*(_sent(drawn[k], self.rates) for k in ("op", "choice", "within")))
        image = self._do(image, drawn["op"], level, drawn["place"])
        if not self.cutout:
            return image
        return torch.where(inside(_sent(drawn["cutout"], image), *image.shape[2:]), GREY, image)

    def weights(self) -> Tensor:
        """Weights by which the bins of each level are drawn, (O, 2, 17); 1 for the best."""
        share = (self.rates + (1 - self.decay)) * self._there()  # never all zero
        share = share / share.amax(2, keepdim=True).clamp(min=1e-12)
        return torch.where(share >= self.threshold, share, 0.0)

    def levels(self, op: Tensor, choice: Tensor, within: Tensor) -> Tensor:
        """Levels in [0, 1) whose bins are drawn by `weights`.

        Args:
            op: (N, depth).
            choice: (N, depth, 2) uniform in [0, 1); selects the bin.
            within: (N, depth, 2) uniform in [0, 1); the position within the bin.

        Returns:
            (N, depth, 2).
        """
        sums = self.weights().cumsum(2)[op]  # (N, depth, 2, 17)
        total = sums[..., -1]
        reach = torch.minimum(choice * total, total * (1 - 1e-6))  # the product may round up
        last = (self.bins[op] - 1).clamp(min=0)
        bin_ = torch.minimum((sums <= reach[..., None]).sum(3), last)
        return (bin_ + within) / (last + 1)

    @torch.no_grad()
    def update(self, op: Tensor, bin_: Tensor, proximity: Tensor) -> None:
        """Move the rates of what was tried towards how well it was recognised, over all ranks.

        Args:
            op: (n, depth).
            bin_: (n, depth, 2).
            proximity: (n,) 1 - 0.5 |p - onehot|_1, in [0, 1].
        """
        level = torch.arange(LEVELS, device=op.device)
        cell = ((op[:, :, None] * LEVELS + level) * MOST + bin_).flatten()
        tried = F.one_hot(cell, self.rates.numel()).to(proximity.dtype)  # (n depth 2, O 2 17)
        seen = tried * proximity.repeat_interleave(self.depth * LEVELS)[:, None]
        both = distributed.all_reduce_sum(torch.stack([tried.sum(0), seen.sum(0)]))
        count, total = both.view(2, *self.rates.shape).float()
        moved = torch.lerp(total / count.clamp(min=1), self.rates, self.decay**count)
        self.rates = torch.where(self._there() & (count > 0), moved, self.rates)

    def _there(self) -> Tensor:
        """Mask of the bins that exist: (O, 2, 17) bool."""
        return torch.arange(MOST, device=self.bins.device) < self.bins[..., None]

    def _bin(self, op: Tensor, level: Tensor, image: Tensor) -> Tensor:
        """The bin of each level (N, depth, 2)."""
        bins = self.bins[_sent(op, image)]
        return torch.minimum((_sent(level, image) * bins).long(), (bins - 1).clamp(min=0))

    def _drawn(self, image: Tensor, seed: int, stream: int) -> Params:
        self.to(image.device)
        on_cpu = torch.empty(()).expand(image.shape)  # where the draws are made
        return for_this_rank(self.draw, on_cpu, seed, stream=stream)

    def _do(self, image: Tensor, op: Tensor, level: Tensor, place: Tensor) -> Tensor:
        given = torch.cat([_sent(level, image), _sent(place, image)], 2)  # (N, depth, 4)
        for slot in range(self.depth):
            image = by_operation(image, op[:, slot], given[:, slot], self.ops, CT_OPS)
        return image


def _sent(drawn: Tensor, to: Tensor) -> Tensor:
    """What was drawn on the CPU, on another tensor's device; Python does not wait for it."""
    return drawn.to(to.device, non_blocking=True)
