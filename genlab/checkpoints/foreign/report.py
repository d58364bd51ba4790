"""Report on the loading of pretrained weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

Normalisation = tuple[float, ...]


@dataclass
class Report:
    """Result of loading a file into a backbone; ``str(report)`` is readable.

    Attributes:
        source: the address as it was given.
        revision: its commit on the hub.
        prefix: prefix of the backbone's names in the file.
        layout: layout of the file, and the copy taken where there are several.
        parameters: number of values in the model's backbone.
        share: share of the backbone's parameters with the file's values, in [0, 1].
        loaded: names with exactly the file's values.
        adapted: names with the file's values resized to the model (channels, patches, positions).
        missing: names of the model that the file lacks.
        unexpected: names of the file in parts that the model has, without a place in it.
        mismatched: names of another shape, not loaded, with both shapes.
        fresh: names of the first layer's weights and position embeddings without the file's values.
        waived: True if ``at_least`` was lowered, which disables this check.
        dropped: heads, projectors, decoders and other parts that the model lacks.
        mean: mean of the training images of the weights, a value per channel, where known.
        std: likewise their standard deviation.
        per_image: True if each training image was normalised by its own statistics.
        told_by: source of these statistics.
        head: the file's linear classifier on the backbone's features, ``weight`` (K, F) and maybe
            ``bias`` (K,); empty where the file has none.
        head_name: name of that classifier in timm's network.
        network: ``encoder`` and ``encoder_kwargs`` that the file names; None where it names none.
    """

    source: str
    revision: str = ""
    prefix: str = ""
    layout: str = ""
    share: float = 0.0
    parameters: int = 0
    loaded: list[str] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: dict[str, str] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    waived: bool = False
    dropped: list[str] = field(default_factory=list)
    mean: Normalisation | None = None
    std: Normalisation | None = None
    per_image: bool = False
    told_by: str = ""
    head: dict[str, Tensor] = field(default_factory=dict, repr=False)
    head_name: str = ""
    network: dict[str, Any] | None = None

    def __str__(self) -> str:
        share = percent(self.share)
        under = f", prefix {self.prefix}" if self.prefix else ""
        at = f" at {self.revision}" if self.revision else ""
        head = [f"{self.head_name}.{part}" for part in self.head]
        left = [name for name in self.dropped if name not in head]
        lines = [
            f"pretrained weights from {self.source}{at}: {share} of {self.parameters:,} parameters",
            f"  layout      {self.layout}{under}; {len(self.loaded)} tensors as they are",
        ]
        parts = {
            "adapted": self.adapted,
            "missing": self.missing,
            "unexpected": self.unexpected,
            "mismatched": [f"{name} {shapes}" for name, shapes in self.mismatched.items()],
            "left out": left,
        }
        lines += [f"  {what:<11} {some(names)}" for what, names in parts.items() if names]
        if len(left) < len(self.dropped):
            classes = len(self.head["weight"])
            lines += [
                f"  classifier  {self.head_name}, {classes} classes: model.head=file takes it"
            ]
        lines += [f"  first layer {self.noise()}"] * bool(self.fresh)
        return "\n".join([*lines, f"  images      {self._images()}"])

    def noise(self) -> str:
        """Advice about fresh weights in the first layers."""
        names = ", ".join(name.removesuffix(".weight") for name in self.fresh[:3])
        are = "is" if len(self.fresh) == 1 else "are"
        return f"{names} {are} fresh: train it (a frozen probe would see noise)"

    def _images(self) -> str:
        if self.mean is None or self.std is None:
            return "no normalisation known: they enter in [0, 1] unless normalize is given"
        if self.per_image:
            return f"normalised each by its own mean and std ({self.told_by})"
        mean, std = (" ".join(f"{x:.3g}" for x in values) for values in (self.mean, self.std))
        return f"normalised with mean {mean}, std {std} ({self.told_by})"


def some(names: list[str], most: int = 3) -> str:
    """The number of names and the first few."""
    more = ", ..." if len(names) > most else ""
    return f"{len(names)}: {', '.join(names[:most])}{more}"


def percent(share: float) -> str:
    """A share for people; never rounded up to 100 %."""
    return "100 %" if share == 1 else f"{min(share * 100, 99.9):.3g} %"
