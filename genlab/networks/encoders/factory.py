"""Backbones: any timm CNN, ViT or mixer, or one of genlab's, as image -> feature vector."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from genlab import checkpoints, process
from genlab.augment.lab import rgb_to_lab
from genlab.errors import check_names
from genlab.networks.encoders import freezing, options
from genlab.networks.encoders.attention import last_attention
from genlab.networks.encoders.backbones import backbone, probe
from genlab.networks.encoders.normalization import Normalize
from genlab.networks.encoders.stems import spatial
from genlab.networks.encoders.tokens import (
    Tokens,
    grid_of,
    refuse_untrained,
    refuse_without_tokens,
    tokens,
)

# of torch.compile; asked of torch itself they cost an import of a second
GRAPHS = ("reduce-overhead", "max-autotune")  # these make CUDA graphs
MODES = ("default", *GRAPHS, "max-autotune-no-cudagraphs")


class Encoder(nn.Module):
    """A backbone without its classifier.

    Attributes:
        backbone: the bare network.
        normalize: normalisation of the image.
        out_dim: width F of the features.
        in_chans, image_size: channels and side of the images it was made for.
        lightness: True if the backbone sees their lightness alone.
        architecture: ``name``, ``stem``, ``kwargs`` of the backbone; a timm name without a stem is
            made again by `timm.create_model`.
        report: report of the pretrained weights, or None.
        layer_groups: names of the backbone's parameters, stage by stage.
        channels_last: True if images enter in that memory layout.
        compiled: False, True or a mode, see `compile_backbone`.
    """

    def __init__(
        self,
        name: str,
        in_chans: int,
        image_size: int,
        stem: str | None = None,
        lightness: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if lightness and in_chans != 3:
            raise ValueError(f"lightness requires images of 3 channels, not {in_chans}")
        seen = 1 if lightness else in_chans
        self.backbone, self.architecture = backbone(name, seen, image_size, stem, **kwargs)
        self.normalize = Normalize(seen)
        self.out_dim = probe(name, self.backbone, seen, image_size)
        self.in_chans, self.image_size, self.lightness = in_chans, image_size, lightness
        self.report: checkpoints.Report | None = None
        self.channels_last = False
        self.compiled: bool | str = False
        self._frozen: set[str] = set()

    def forward(self, image: Tensor, normalized: bool = False) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, F); ``normalized`` images enter as they are."""
        h = self.backbone(self._prepared(image, normalized))
        return h.clone() if self.compiled in GRAPHS else h  # the next call overwrites a graph's own

    def features(self, image: Tensor) -> Tensor:
        """The last feature map: (B, C, H, W) in [0, 1] -> (B, F', h, w).

        For a ViT or mixer, the patches' tokens at their places, without the class token.
        """
        return spatial(self.backbone, self._prepared(image))

    def tokens(
        self,
        image: Tensor,
        keep: Tensor | None = None,
        masked: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> Tokens:
        """A ViT's tokens (B, C, H, W) in [0, 1] -> prefix (B, P, D) and patches (B, h w, D).

        Images may have any size that the patches divide: positions are resampled. `forward` is
        `pooled` of all tokens.

        Args:
            image: (B, C, H, W) in [0, 1].
            keep: indices (B, K) of the only patches that enter the blocks; None for all.
            masked: (B, h w) bool, patches in whose place ``mask_token`` stands.
            mask_token: (D,) or (1, 1, D), of the method; required with ``masked``.

        Raises:
            ValueError: the network is not a plain ViT, or a size not a whole number of patches.
        """
        refuse_without_tokens(self.backbone, self.architecture["name"])
        return tokens(self.backbone, self._prepared(image), keep, masked, mask_token)

    def pooled(self, tokens: Tokens) -> Tensor:
        """The features of an image's tokens, as the network pools them: (B, F)."""
        network: Any = self.backbone
        return network.forward_head(torch.cat([tokens.prefix, tokens.patches], 1))

    def attention(self, image: Tensor) -> Tensor:
        """Attention maps of a ViT's last block: (B, C, H, W) in [0, 1] -> (B, heads, h, w).

        The class token's attention to the patches; without one, the mean of all patches'.

        Raises:
            ValueError: the network is not a plain ViT, or its blocks have no layer of attention.
        """
        name = self.architecture["name"]
        refuse_without_tokens(self.backbone, name)
        return last_attention(self.backbone, self._prepared(image), name)

    def token_grid(self, trained: str | bool = False) -> tuple[int, int]:
        """Rows and columns of a ViT's patches, for images of its size.

        Args:
            trained: True if the loss is of tokens alone: pooling must then have no weights, and
                patches cover the image; ``patches`` if it is not of prefix tokens either: features
                must then be the patches' mean.

        Raises:
            ValueError: the network is not a plain ViT, or one that such a loss does not train.
        """
        name, side = self.architecture["name"], self.image_size
        refuse_without_tokens(self.backbone, name)
        if trained:
            refuse_untrained(self.backbone, name, side, patches_alone=trained == "patches")
        return grid_of(self.backbone, side, side)

    @property
    def token_dim(self) -> int:
        """Width D of a ViT's tokens."""
        network: Any = self.backbone
        return int(network.embed_dim)

    def compile_backbone(self, how: bool | str) -> None:
        """Run `forward` (not `features`) through `torch.compile`, here and in all copies.

        Args:
            how: False for no compilation, True, or one of `MODES`.
        """
        self.compiled = how
        if how:
            self.backbone.compile(mode=None if how is True else how)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # of a copy, a momentum encoder for one: torch leaves out of it that it is compiled
        super().__setstate__(state)
        self.compile_backbone(self.compiled)

    @property
    def layer_groups(self) -> list[list[str]]:
        """Names of the backbone's parameters, stage by stage, from the stem to the last norm."""
        return freezing.layer_groups(self.backbone)

    def freeze(self, stages: int | str) -> None:
        """Train the first ``stages`` (the stem is one), or ``all``, no more.

        They stay in eval mode whatever `train` says: batch norm's statistics do not move.

        Raises:
            ValueError: there are fewer stages, or pretrained weights left one of them fresh.
        """
        self._frozen |= freezing.freeze(self.backbone, stages)
        self._refuse_frozen_noise()
        self.train(self.training)

    def train(self, mode: bool = True) -> Encoder:
        """Set training mode, except for frozen parts."""
        super().train(mode)
        for name in self._frozen:
            self.backbone.get_submodule(name).eval()
        return self

    def _refuse_frozen_noise(self) -> None:
        """A stem that the weights could not fill may be trained, not frozen."""
        fresh = self.report.fresh if self.report and not self.report.waived else []
        frozen = {n for n, p in self.backbone.named_parameters() if not p.requires_grad}
        if noise := sorted(frozen.intersection(fresh)):
            raise ValueError(
                f"{noise[0]} does not fit {self.architecture['name']}, it is fresh: frozen it "
                "would give noise; freeze nothing, or take the stem of the weights"
            )

    def _prepared(self, image: Tensor, normalized: bool = False) -> Tensor:
        if not normalized:
            image = self.normalize(rgb_to_lab(image)[:, :1] / 100 if self.lightness else image)
        if self.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        return image


def encoder(
    name: str,
    in_chans: int = 3,
    image_size: int = 32,
    pretrained: bool | str = False,
    pretrained_options: dict[str, Any] | None = None,
    stem: str | None = None,
    normalize: dict[str, Any] | None = None,
    lightness: bool = False,
    grad_checkpointing: bool = False,
    channels_last: bool = False,
    compile: bool | str = False,
    **timm_kwargs: Any,
) -> Encoder:
    """A backbone by its name, without classifier.

    Args:
        name: a model registered with timm (``resnet18``, ``vit_tiny_patch16_224`` ...); one of
            genlab's: ``small_cnn``, ``lenet``, ``mlp``, ``nin``, ``airbench``, ``wrn_28_2`` (any
            depth and width), ``resnet20_cifar`` (32, 44, 56, 110), ``convmixer_256_8`` (any width
            and depth); or the dotted name of a class (``mylab.nets.MyNet``), see `naming`.
        in_chans: number of image channels.
        image_size: side of the images in pixels; a ViT gets position embeddings for it. Up to 64 px
            ViTs and mixers get a patch size that leaves about 8 x 8 patches, Swin about 16 x 16.
        pretrained: weights; True for timm's own, else anything `checkpoints.load_backbone` takes.
        pretrained_options: arguments of `checkpoints.load_backbone` (``take``, ``at_least`` ...).
        stem: ``cifar`` gives a ResNet a 3x3 stride-1 stem without max-pool, for small images.
        normalize: ``mean`` and ``std`` of the channels, or ``per_image: true`` for each image's
            own. By default those that the pretrained weights were trained with (averaged over red,
            green and blue where the images have other channels), and none for fresh weights.
        lightness: True to give the network the lightness of coloured images, L / 100 of CIE Lab.
        grad_checkpointing: compute activations anew in the backward pass instead of keeping them;
            batch norm then sees each batch twice.
        channels_last: memory layout of weights and images; faster for CNNs on GPUs.
        compile: run the network through `torch.compile`; a mode of its (``reduce-overhead`` is
            CUDA graphs), or True for its default.
        **timm_kwargs: arguments of the network's constructor (``drop_path_rate``, ``patch_size``;
            ``dynamic_img_size`` lets a ViT take images of several sizes).

    Raises:
        ValueError: unknown name (the nearest are listed), argument or stem, a size that the
            network cannot take, an unknown mode, or weights that do not fit.
    """
    if not isinstance(compile, bool):
        check_names("encoder_kwargs.compile", [compile], MODES, "mode")
    made = Encoder(name, in_chans, image_size, stem, lightness, **timm_kwargs)
    seen = len(made.normalize.mean)
    if pretrained:
        made.report = _load(made, pretrained, pretrained_options or {})
        options.warn_of_other_features(
            made, timm_kwargs | {"stem": stem, "lightness": lightness or None}
        )
        if made.report.mean is not None and made.report.std is not None:
            mean, std = (_colours(list(n), seen) for n in (made.report.mean, made.report.std))
            made.normalize = Normalize(seen, mean, std, made.report.per_image)
        elif normalize is None and process.is_first():
            warnings.warn(
                f"{made.report.source} does not say how its images were normalised: they enter in "
                "[0, 1] unless encoder_kwargs.normalize gives mean and std",
                UserWarning,
                2,
            )
    if normalize is not None:
        made.normalize = Normalize(seen, **normalize)
    if grad_checkpointing:
        _checkpoint_gradients(name, made.backbone)
    if channels_last:
        made.backbone.to(memory_format=torch.channels_last)
        made.channels_last = True
    made.compile_backbone(compile)
    return made


def _load(made: Encoder, source: bool | str, options: dict[str, Any]) -> checkpoints.Report:
    """Load pretrained weights; a note reports what was loaded."""
    where = True if source is True else str(source)
    report = checkpoints.load_backbone(made.backbone, where, **options)
    process.note(str(report))
    return report


def _colours(numbers: list[float], channels: int) -> list[float]:
    """Statistics of the channels, or their mean for each of other channels: grey, infrared ..."""
    same = len(numbers) == channels
    return numbers if same else [sum(numbers) / len(numbers)] * channels


def _checkpoint_gradients(name: str, network: Any) -> None:
    try:
        network.set_grad_checkpointing(True)
    except (AttributeError, AssertionError):
        raise ValueError(f"{name} has no grad_checkpointing") from None
