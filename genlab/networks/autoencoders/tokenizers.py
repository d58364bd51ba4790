"""Frozen tokenizer of a prior over codes, and a memory of training images' codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from genlab import checkpoints
from genlab.internals import lightning_parts


@runtime_checkable
class Tokenizer(Protocol):
    """Protocol of the method that turns images into codes."""

    num_codes: int
    code_shape: tuple[int, int]

    def encode(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, h, w)."""

    def decode(self, codes: Tensor) -> Tensor:
        """(B, h, w) -> (B, C, H, W)."""


def frozen_tokenizer(path: str | None, spec: dict[str, Any] | None) -> Any:
    """The tokenizer of a checkpoint, or a fresh one from its description, frozen.

    Args:
        path: checkpoint or run of a VQ-VAE or VQGAN.
        spec: class and arguments of one, instead.

    Raises:
        ValueError: neither or both are given, or the method has no codes.
    """
    if (path is None) == (spec is None):
        raise ValueError(
            "tokenizer: give the checkpoint or run of a VQ-VAE or VQGAN, or else a tokenizer_spec"
        )
    build, given = (checkpoints.load, path) if path is not None else (checkpoints.build, spec)
    method = lightning_parts.outside_cli(build, given)
    if not isinstance(method, Tokenizer):
        kind = type(method).__name__
        raise ValueError(f"tokenizer: {path or spec} is a {kind}, not a VQ-VAE or VQGAN: no codes")
    frozen: Any = method
    return frozen.requires_grad_(False).eval()


class CodeCache:
    """Codes by data-set index, encoded anew whenever the image of that index has changed.

    A fingerprint of the pixels guards every entry, so the cache is right for augmented or
    binarised data too (it only saves nothing there). It is not part of a checkpoint.
    """

    def __init__(self) -> None:
        self.codes = torch.empty(0)
        self.fingerprint = torch.empty(0)

    def __call__(self, image: Tensor, index: Tensor, encode: Callable[[Tensor], Tensor]) -> Tensor:
        """The codes of images (B, C, H, W) at positions (B,) of the data set: (B, h, w)."""
        found = self._fingerprint(image)
        size = int(index.max()) + 1
        if size <= len(self.codes) and torch.equal(self.fingerprint[index], found):
            return self.codes[index].long()
        codes = encode(image)
        if size > len(self.codes):
            self._grow(max(size, 2 * len(self.codes)), codes, found)
        self.codes[index], self.fingerprint[index] = codes.int(), found
        return codes

    def _grow(self, size: int, codes: Tensor, found: Tensor) -> None:
        old, seen = self.codes, self.fingerprint
        self.codes = codes.new_zeros((size, *codes.shape[1:]), dtype=torch.int32)
        self.fingerprint = found.new_full((size,), float("nan"))
        if len(old):
            self.codes[: len(old)], self.fingerprint[: len(seen)] = old, seen

    @staticmethod
    def _fingerprint(image: Tensor) -> Tensor:
        """A number for each image that shifts, flips and single pixels change: (B,)."""
        pixels = image.flatten(1).float()
        weights = torch.arange(1, pixels.shape[1] + 1, device=image.device).sqrt().frac()
        return (pixels * weights).sum(1)
