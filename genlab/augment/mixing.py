"""Mixup and CutMix: pairs of images blended or pasted, and their labels with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from genlab.internals import torch_parts


class Mixing(nn.Module):
    """Images and soft targets for a batch of labelled images.

    Image i is mixed with image B - 1 - i, one lambda per batch, drawn from Beta(a, a); the odd one
    out of an odd batch stays as it is.

    Args:
        num_classes: K.
        mixup: a of mixup, 0 for none.
        cutmix: a of CutMix, 0 for none.
        prob: probability that a batch is mixed.
        switch_prob: probability of CutMix when both are on.
        label_smoothing: probability mass spread over all K classes, own class included.

    Raises:
        ValueError: a value out of range.

    Sources: mixup, Zhang et al. 2017, arXiv:1710.09412; CutMix, Yun et al. 2019, arXiv:1905.04899
    (lambda corrected to the area that was pasted); both as `timm.data.Mixup` does them.
    Departure: timm draws from NumPy's global generator; here that one is seeded from torch's for
    the call and put back, so that what `Reseed` fixes is fixed here too, and ranks differ.
    """

    def __init__(
        self,
        num_classes: int,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        prob: float = 1.0,
        switch_prob: float = 0.5,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        shares = {"prob": prob, "switch_prob": switch_prob, "label_smoothing": label_smoothing}
        for name, value in {"mixup": mixup, "cutmix": cutmix, **shares}.items():
            if value < 0 or (name in shares and value > 1):
                allowed = "in 0 ... 1" if name in shares else "0 or more"
                raise ValueError(f"{name} {value} must be {allowed}")
        if num_classes < 2:
            raise ValueError(f"num_classes {num_classes} must be at least 2")
        from timm.data.mixup import Mixup  # imports the whole of timm

        self.num_classes, self.label_smoothing = num_classes, label_smoothing
        self.active = prob > 0 and (mixup > 0 or cutmix > 0)
        self.mixer = Mixup(
            mixup, cutmix, prob=prob, switch_prob=switch_prob,
            label_smoothing=label_smoothing, num_classes=num_classes,
        )  # fmt: skip

    @torch.no_grad()
    def forward(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Args:
            image: (B, C, H, W); left as it is.
            label: (B,) int64, all known.

        Returns:
            Images of the same shape, and targets (B, K) float32 whose rows sum to 1.

        Raises:
            ValueError: an unknown label, -1.
        """
        _all_known(label)
        even = len(image) // 2 * 2
        if not self.active or not even:
            return image, self._target(label)
        with _numpy_seeded_by_torch():
            mixed, target = self.mixer(image[:even].clone(), label[:even])
        if even == len(image):
            return mixed, target
        last = self._target(label[even:])
        return torch.cat([mixed, image[even:]]), torch.cat([target, last])

    def _target(self, label: Tensor) -> Tensor:
        from timm.data.mixup import mixup_target

        return mixup_target(label, self.num_classes, smoothing=self.label_smoothing)


def _all_known(label: Tensor) -> None:
    message = "mixing requires labels: this batch contains unlabelled images (label -1)"
    known = (label >= 0).all()
    if not torch_parts.on_host(label):
        torch_parts.assert_on_device(known, message)  # without waiting for the device
    elif not known:
        raise ValueError(message)


@contextmanager
def _numpy_seeded_by_torch() -> Iterator[None]:
    before = np.random.get_state()  # noqa: NPY002 - timm draws from this one
    np.random.seed(int(torch.randint(2**32, ())))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
