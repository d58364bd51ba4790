"""Export for timm: a folder that `timm.create_model` reads without genlab."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import timm
import torch
from timm.models import save_for_hf
from torch import Tensor, nn

from genlab.errors import CheckpointError

TRAINING_ONLY = ("compile", "grad_checkpointing", "channels_last")  # of encoder_kwargs
KEPT = (  # of timm's pretrained_cfg; its tag, licence and origin are those of other weights
    "custom_load", "input_size", "fixed_input_size", "interpolation", "crop_pct", "crop_mode",
    "mean", "std", "first_conv", "classifier",
)  # fmt: skip
OTHER_FORMAT = "--format torch writes it for genlab and for plain torch"


@dataclass
class Parts:
    """Parts of a method that work without it.

    Attributes:
        encoder: a `networks.Encoder`: image (B, C, H, W) in [0, 1] -> features (B, F).
        head: features -> logits (B, K), where the method has a linear head.
        own: ``encoder`` and ``encoder_kwargs`` as genlab's methods take them.
        classes: names of the K classes, where they have any.
    """

    encoder: Any
    head: nn.Linear | None
    own: dict[str, Any]
    classes: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Name of the backbone in timm or genlab."""
        return str(self.encoder.architecture["name"])

    @property
    def input_size(self) -> tuple[int, int, int]:
        """C, H, W."""
        return self.encoder.in_chans, self.encoder.image_size, self.encoder.image_size

    @property
    def num_classes(self) -> int:
        """K; 0 without a head."""
        return self.head.out_features if self.head is not None else 0

    @property
    def labels(self) -> dict[str, list[str]]:
        """``label_names`` of timm's config.json: K names; empty without a head or names."""
        names = [str(name) for name in self.classes]
        return {"label_names": names} if names and len(names) == self.num_classes else {}

    @property
    def normalisation(self) -> dict[str, Any]:
        """Mean and standard deviation per channel that the backbone expects to be removed.

        ``per_image`` stands there, and is True, where these are each image's own.
        """
        normalize = self.encoder.normalize
        numbers = {"mean": normalize.mean.tolist(), "std": normalize.std.tolist()}
        return numbers | ({"per_image": True} if normalize.per_image else {})

    def example(self, batch: int = 2) -> Tensor:
        """Images of noise (B, C, H, W), the same at every call."""
        generator = torch.Generator().manual_seed(0)
        return torch.rand(batch, *self.input_size, generator=generator)


def parts_of(method: L.LightningModule, classes: Sequence[str] = ()) -> Parts:
    """The encoder and the linear head of a method.

    Args:
        method: method with an ``encoder``.
        classes: names of its classes, where they have any.

    Raises:
        CheckpointError: it has no encoder that could be exported.
    """
    encoder, head = getattr(method, "encoder", None), getattr(method, "head", None)
    if not hasattr(encoder, "architecture"):
        raise CheckpointError(
            f"{type(method).__name__} has no backbone: export requires an encoder of "
            "`networks.encoder`; `genlab embed` writes features, not weights"
        )
    named = getattr(method, "backbone", None)  # where the arguments are not those of the network
    given = named if isinstance(named, dict) else method.hparams
    kwargs = given.get("encoder_kwargs") or {}
    kept = {key: value for key, value in kwargs.items() if key not in TRAINING_ONLY}
    fits = isinstance(head, nn.Linear) and head.in_features == encoder.out_dim  # type: ignore[union-attr]
    own = {"encoder": encoder.architecture["name"], "encoder_kwargs": kept}  # type: ignore[union-attr]
    return Parts(encoder, head if fits else None, own, classes)


def write_timm(parts: Parts, folder: Path) -> Parts:
    """``model.safetensors`` and ``config.json`` for ``timm.create_model("local-dir:FOLDER")``.

    timm reads the folder back before this returns, and its features must be the same, bit for bit,
    and its logits where timm's network has one linear classifier for the head.

    Returns:
        The parts that the folder holds: without the head where timm has no place for it.

    Raises:
        CheckpointError: timm cannot build this network, or makes something else of it.
    """
    _check_timm_builds(parts)
    if parts.head is not None:
        model = _as_timm(parts)
        if model is not None:
            _save(parts, model, folder)
            if _same_logits(parts, folder) and _same_features(parts, folder):
                return parts
    bare = replace(parts, head=None)
    _save(bare, _as_timm(bare), folder)
    if not _same_features(bare, folder):
        raise CheckpointError(f"timm makes other features of {parts.name} than genlab")
    return bare


def _check_timm_builds(parts: Parts) -> None:
    stem = parts.encoder.architecture["stem"]
    if not timm.is_model(parts.name.partition(".")[0]):
        raise CheckpointError(f"{parts.name} is not registered with timm; {OTHER_FORMAT}")
    if not hasattr(parts.encoder.backbone, "num_classes"):
        raise CheckpointError(f"{parts.name} has no num_classes, which timm reads; {OTHER_FORMAT}")
    if stem is not None:
        raise CheckpointError(f"timm cannot build {parts.name} with stem {stem}; {OTHER_FORMAT}")
    if parts.encoder.normalize.per_image:
        raise CheckpointError(f"timm cannot standardise each image by itself; {OTHER_FORMAT}")
    if parts.encoder.lightness:
        raise CheckpointError(f"timm cannot give a network lightness alone; {OTHER_FORMAT}")


def _as_timm(parts: Parts) -> Any:
    """A plain timm model with the weights; None where it has no linear classifier for the head."""
    arguments = parts.encoder.architecture["kwargs"] | {"num_classes": parts.num_classes}
    model: Any = timm.create_model(parts.name, **arguments)
    state = dict(parts.encoder.backbone.state_dict())
    if parts.head is not None:
        classifier = getattr(model, "get_classifier", lambda: None)()
        if (
            not isinstance(classifier, nn.Linear)
            or classifier.weight.shape != parts.head.weight.shape
        ):
            return None
        classifier.load_state_dict(parts.head.state_dict())
        state = model.state_dict() | state
    model.load_state_dict(state)
    return model


def _save(parts: Parts, model: Any, folder: Path) -> None:
    arguments = parts.encoder.architecture["kwargs"]
    image = {"input_size": list(parts.input_size), "crop_pct": 1.0, "interpolation": "bicubic"}
    save_for_hf(
        model,
        str(folder),
        model_config={"genlab": parts.own, "pretrained_cfg": parts.normalisation | image}
        | parts.labels,
        model_args={k: v for k, v in arguments.items() if k != "num_classes"},
        safe_serialization=True,
    )
    config = json.loads((folder / "config.json").read_text())
    cfg = model.pretrained_cfg | config["pretrained_cfg"]
    config["pretrained_cfg"] = {k: cfg[k] for k in KEPT if cfg.get(k) is not None} | {
        "num_classes": parts.num_classes
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


@torch.no_grad()
def _same_features(parts: Parts, folder: Path) -> bool:
    image = parts.example()
    model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    return torch.equal(model(parts.encoder.normalize(image)), parts.encoder(image))


@torch.no_grad()
def _same_logits(parts: Parts, folder: Path) -> bool:
    assert parts.head is not None
    image = parts.example()
    model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    found = model(parts.encoder.normalize(image))
    return torch.equal(found, parts.head(parts.encoder(image)))
