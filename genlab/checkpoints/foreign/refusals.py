"""Refusals of weights, in one or two lines that say what would work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from timm.layers import Conv2dSame
from torch import nn

from genlab.checkpoints.foreign import layouts
from genlab.checkpoints.foreign.architecture import in_file_name
from genlab.checkpoints.foreign.layouts import Tensors
from genlab.checkpoints.foreign.lookalike import fits_exactly, looks_like
from genlab.checkpoints.foreign.matching import Fit
from genlab.checkpoints.foreign.report import percent, some
from genlab.errors import CheckpointError

AT_LEAST = 0.9  # a user who lowers it takes noise in the first layer as well


def refuse_too_little(
    best: Fit, model: nn.Module, places: dict[str, Tensors], at_least: float
) -> None:
    """Refuse too small a share of the model's parameters or of the file's.

    Raises:
        CheckpointError: it is.
    """
    report, name = best.report, _name(model)
    if best.fits >= at_least:
        return
    if report.share < at_least:
        what = f"fits {percent(report.share)} of {name}'s parameters"
    else:
        what = f"holds a larger network: {name} has a place for {percent(best.used)} of it"
    like = looks_like(places) or in_file_name(Path(report.source))
    like = f"; it looks like {like}" if like and not name.startswith(like) else ""
    needed = f"({percent(at_least)} are needed)"
    raise CheckpointError(f"{report.source} {what} {needed}{like}\n{_why(best, model, places)}")


def refuse_noise(best: Fit, model: nn.Module) -> None:
    """Refuse a first layer, position embedding or batch norm that would keep its fresh values.

    They are a small share of the parameters, but the layers after them see noise.

    Raises:
        CheckpointError: there is one.
    """
    report, name = best.report, _name(model)
    if best.noise:
        first = best.noise[0]
        why = report.mismatched.get(first, "is not in the file")
        raise CheckpointError(
            f"{report.source} fits {percent(report.share)} of {name}, but {first} {why}: "
            f"what follows would see noise\n{_ways(best, name)}"
        )
    if best.no_statistics:
        raise CheckpointError(
            f"{report.source} lacks batch norm's statistics ({some(best.no_statistics, 1)}): "
            f"the weights are useless without them\n{_ways(best, name)}"
        )


def refuse_standardised(best: Fit, model: nn.Module) -> None:
    """Refuse other channels than the file's where the first layer standardises its kernel.

    Raises:
        CheckpointError: there is such a layer.
    """
    for layer, (old, new) in best.standardised.items():
        images = f"images of {old} channel{'s' * (old > 1)}"
        repeated = f", the grey one {old} times" if new == 1 else ""
        raise CheckpointError(
            f"{best.report.source} is for {images}, not of {new}: {_name(model)} standardises "
            f"{layer},\nand with other channels all features would be others\n"
            f"take {images}{repeated} (of a folder: data.channels={old}); "
            f"model.pretrained_options.at_least below {AT_LEAST} lets it pass"
        )


def refuse_neighbour(best: Fit, model: nn.Module) -> None:
    """Refuse the weights of a network that computes other features with almost the same tensors.

    Every tensor inside a backbone, however small, is part of what the network computes: a norm
    before the blocks, layer scale, an attention's biases, squeeze-excite, a token.

    Raises:
        CheckpointError: the file has such a tensor and the model has not, or the reverse.
    """
    if not (best.without_place or best.without_value):
        return
    report, name = best.report, _name(model)
    parts = {"no place for": best.without_place, "nothing of the file's for": best.without_value}
    lists = [f"{word} {some(names, 2)}" for word, names in parts.items() if names]
    raise CheckpointError(
        f"{report.source} is of another network than {name}, whose features would be wrong\n"
        f"{name} has {'; and '.join(lists)}\n{_ways(best, name)}"
    )


def _ways(best: Fit, name: str) -> str:
    """What a user may ask for instead: the network that fits, layer scale, less of a check."""
    fitting = fits_exactly(best.candidate.state, name)
    ways = [f"it fits {' and '.join(fitting)}"] if fitting else []
    lacking = best.without_place
    if lacking and all(re.fullmatch(r"blocks\.\d+\.ls[12]\.gamma", one) for one in lacking):
        ways.append("model.encoder_kwargs.init_values=1e-5 adds layer scale")
    ways.append(f"model.pretrained_options.at_least below {AT_LEAST} lets it pass")
    return "; ".join(ways)


def refuse_stem(best: Fit, model: nn.Module, held: Any) -> None:
    """Refuse solo-learn's 3x3 stem, which pads an image by two pixels, for one that pads by one.

    Raises:
        CheckpointError: such a file and such a model.
    """
    stem = getattr(model, "conv1", None)
    if not isinstance(stem, nn.Conv2d) or stem.kernel_size != (3, 3) or stem.stride != (1, 1):
        return
    if "conv1.weight" in best.values and stem.padding == (1, 1) and layouts.is_solo_learn(held):
        raise CheckpointError(
            f"{best.report.source} is solo-learn's, whose 3x3 stem pads by 2 pixels, not by 1\n"
            "ask for it: model.encoder_kwargs.stem=cifar_pad2"
        )


def refuse_epsilon(best: Fit, model: nn.Module, held: Any) -> None:
    """Refuse torchvision's weights for a network of another epsilon of batch norm or other padding.

    Raises:
        CheckpointError: such a file and such a model.
    """
    wanted = layouts.batch_norm_epsilon(held, model.state_dict())
    if wanted is None:
        return
    source, name = best.report.source, _name(model)
    if any(isinstance(module, Conv2dSame) for module in model.modules()):
        raise CheckpointError(
            f"{source} is torchvision's, which pads both sides alike: {name} pads as TensorFlow "
            f"does\nask for it: model.encoder={name.removeprefix('tf_')}"
        )
    own = {m.eps for m in model.modules() if isinstance(m, nn.BatchNorm2d)} - {wanted}
    if own:
        raise CheckpointError(
            f"{source} is torchvision's, whose batch norm has an epsilon of {wanted:g}, not "
            f"{min(own):g}\nask for it: model.encoder_kwargs.bn_eps={wanted:g}"
        )


def refuse_equals(best: Fit, others: list[Fit], source: str, whole: str | None) -> None:
    """Refuse to choose between networks that fit equally well but have other values.

    Args:
        best: the first of them.
        others: those that fit as well.
        source: address, to be shown.
        whole: name of the network whose parts they are, where the file says so.

    Raises:
        CheckpointError: there is one.
    """
    for one in others:
        if layouts.differ(best.values, one.values, best.values.keys() & one.values.keys()):
            first, second = sorted((best.candidate.path, one.candidate.path))
            if whole is not None:
                raise CheckpointError(
                    f"{source} is of {whole}, of which several parts fit\n"
                    "model.encoder=null takes it whole, with its arguments; "
                    f"model.pretrained_options.prefix={first} or {second} takes a part"
                )
            raise CheckpointError(
                f"{source} contains several networks that fit: give prefix={first!r} or {second!r}"
            )


def _why(best: Fit, model: nn.Module, places: dict[str, Tensors]) -> str:
    """Prefix and first names of what does not fit; no common name at all: how both begin."""
    report, names = best.report, list(best.candidate.state)
    every = (name for tensors in places.values() for name in tensors)
    if report.share < 0.1 and any(re.search(r"\bfeatures\.\d+\.\d", name) for name in every):
        families = "ResNet, DenseNet, VGG, RegNet, ViT, ConvNeXt, EfficientNet and MobileNet"
        return f"its names are torchvision's, which load for {families}: take timm's weights"
    if not report.share:
        return f"its names are like {names[0]}, the model's like {next(iter(model.state_dict()))}"
    parts = {
        "missing": report.missing,
        "unexpected": report.unexpected,
        "of another shape": [f"{n} {shapes}" for n, shapes in report.mismatched.items()],
    }
    lists = [f"{word} {some(names, 2)}" for word, names in parts.items() if names]
    return f"under its best prefix {report.prefix or '(none)'}: {'; '.join(lists)}"


def _name(model: nn.Module) -> str:
    cfg = getattr(model, "pretrained_cfg", None) or {}
    return cfg.get("architecture") or type(model).__name__
