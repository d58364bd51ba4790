"""RandAugment in FixMatch's form: two random operations, then a grey square.

Cubuk et al. 2019, arXiv:1909.13719; Sohn et al. 2020, arXiv:2001.07685, section 2.3: the strength
of every operation is random, not tuned. In the reference code (google-research/fixmatch,
kekmodel/FixMatch-pytorch) each operation drawn is left out half of the time.
Departure: draws are made on the CPU for a whole batch, and each operation runs once on all images
that drew it, so that nothing waits for the accelerator.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genlab.augment.boxes import inside, square_boxes
from genlab.augment.ct_augment import CTAugment
from genlab.augment.draws import Params, Shape, coin, for_this_rank, uniform, whole
from genlab.augment.ops import OPS, by_operation
from genlab.errors import check_names

STREAM = 64  # of the batch's seed; see `draws.generator`
LEVELS = 10  # levels 1 ... 9 of the strongest


class RandAugment(nn.Module):
    """Some of fourteen operations at random strengths, then cutout.

    Args:
        count: number of operations drawn for each image, with replacement.
        chance: probability that a drawn operation is applied.
        magnitude: strengths are 1/10 ... (magnitude - 1)/10 of each operation's range.
        cutout: side of the grey square as a share of the image's; its centre is a uniform pixel
            and it is cut off at the borders; 0 for none.
        ops: names out of `ops.OPS`; None for all fourteen.

    Raises:
        ValueError: a value out of range, or an unknown operation.
    """

    def __init__(
        self,
        count: int = 2,
        chance: float = 0.5,
        magnitude: int = LEVELS,
        cutout: float = 0.5,
        ops: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        check_names("strong", ops or (), OPS, "operation")
        if not 2 <= magnitude <= LEVELS or count < 0:
            raise ValueError(
                f"strong: magnitude {magnitude} must be in 2 ... 10, count {count} >= 0"
            )
        for name, value in {"chance": chance, "cutout": cutout}.items():
            if not 0 <= value <= 1:
                raise ValueError(f"strong: {name} must be in 0 ... 1, not {value}")
        self.count, self.chance, self.magnitude, self.cutout = count, chance, magnitude, cutout
        self.ops = list(ops or OPS)

    @torch.no_grad()
    def forward(self, image: Tensor, seed: int) -> Tensor:
        """Augment this process's share of a batch.

        Args:
            image: (B, C, H, W) float in [0, 1].
            seed: batch seed, equal on all ranks.

        Returns:
            Same shape, in [0, 1]; the argument is left as it is.
        """
        on_cpu = torch.empty(()).expand(image.shape)  # where the draws are made
        return self.apply_to(image, for_this_rank(self.draw, on_cpu, seed, stream=STREAM))

    def draw(self, shape: Shape, generator: torch.Generator) -> Params:
        """Draws for N images: ``op`` (N, count), -1 for none, ``strength``, ``cutout``."""
        slots = (shape[0], self.count)
        op = whole(torch.full(slots, len(self.ops) - 1), generator)
        done = coin(shape[0] * self.count, self.chance, generator).view(slots)
        level = 1 + whole(torch.full(slots, self.magnitude - 2), generator)
        sign = uniform(slots, 0.0, 1.0, generator).lt(0.5).float().mul_(2).sub_(1)
        drawn = {"op": op.where(done, torch.tensor(-1)), "strength": sign * level / LEVELS}
        drawn["cutout"] = square_boxes(shape, round(self.cutout * shape[3]), generator)
        return drawn

    def apply_to(self, image: Tensor, drawn: Params) -> Tensor:
        """Apply the operations drawn for the images (N, C, H, W)."""
        for slot in range(self.count):
            op, strength = drawn["op"][:, slot], drawn["strength"][:, slot]
            image = by_operation(image, op, strength, self.ops)
        if not self.cutout:
            return image
        boxes = drawn["cutout"].to(image.device, non_blocking=True)
        gone = inside(boxes, *image.shape[2:])
        return torch.where(gone, 127 / 255, image)


def strong_from(options: str | dict[str, Any] | None) -> nn.Module | None:
    """The strong augmentation requested by a recipe's ``strong:``; None if there is none.

    Args:
        options: ``rand_augment`` or ``ctaugment``; or a mapping with arguments of `RandAugment` or
            `CTAugment`, and

            - ``policy`` (rand_augment): ``rand_augment`` or ``ctaugment``

    Raises:
        ValueError: no such policy or setting.
    """
    if options is None:
        return None
    given = {"policy": options} if isinstance(options, str) else dict(options)
    name = given.pop("policy", "rand_augment")
    check_names("strong", [name], POLICIES, "policy")
    check_names("strong", given, inspect.signature(POLICIES[name]).parameters)
    return POLICIES[name](**given)


POLICIES: dict[str, Any] = {"rand_augment": RandAugment, "ctaugment": CTAugment}
