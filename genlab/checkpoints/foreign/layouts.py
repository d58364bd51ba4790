"""Layouts of foreign weights files: wrapper keys, prefixes and copies of a backbone.

Every name in the file is compared with the model's: the part before a name of the same shape is a
prefix, and the prefix with the most such names is the backbone's. Tables list only the terms that
mark a momentum copy, the marks of known repositories, and names that a library changed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Size, Tensor, nn

from genlab.checkpoints.foreign import torchvision_names

Tensors = dict[str, Tensor]
Shapes = dict[str, Size]

TAKES = ("online", "student", "teacher", "ema")
_NO_WEIGHTS = re.compile(r"optim|sched|scaler|callbacks|loops|hyper_param|hparams|args|config|rng")
_MOMENTUM = re.compile(r"(^|_)(ema|swa|avg|averaged?|momentum|k|key|target|teacher)(_|$)")
_LIVE = ("live_weights", "current_model_state")  # next to an averaged state_dict: genlab, Lightning

# Whose layout: a pattern that some "place name" matches; whether it is self-supervised, so that its
# fc is a projector; whether the reference code normalises by ImageNet's mean and deviation.
_PARTS = r" (module\.)?(proj\w+|prototypes|predictor|momentum_\w+|encoder_[qk])\."
_LAYOUTS = [
    ("MoCo v3", r"\bmodule\.base_encoder\.", True, True),
    ("MoCo", r"\bmodule\.encoder_[qk]\.", True, True),
    ("MAE", r"\bdecoder_(embed|pos_embed|blocks)\b", True, True),
    ("DINO", r"^(teacher|student) (module\.)?backbone\.", True, True),
    ("SwAV", r"\bmodule\.(prototypes|projection_head)\.", True, True),
    ("BYOL", r"\b(online|target)_(encoder|network)", True, False),
    ("SimSiam", r"\bmodule\.predictor\.", True, True),
    ("Barlow Twins or VICReg", r"\bmodule\.projector\.", True, True),
    ("self-supervised", _PARTS, True, False),
    ("DeiT", r"^model (blocks|patch_embed)\.", False, True),
    ("torchvision ViT", r"\bencoder\.layers\.encoder_layer_\d", False, True),
    ("torchvision ConvNeXt", r"\bfeatures\.1\.0\.layer_scale$", False, True),
    ("torchvision EfficientNetV2-L", r"\bfeatures\.5\.18\.block\.0\.0\.", False, False),
    ("torchvision EfficientNet", r"\bfeatures\.1\.0\.block\.0\.0\.", False, True),
    ("torchvision MobileNetV3", r"\bfeatures\.1\.block\.0\.0\.", False, True),
    ("torchvision MobileNetV2", r"\bfeatures\.1\.conv\.0\.0\.", False, True),
]


@dataclass
class Candidate:
    """Tensors of a file that may be the backbone's, under the model's names.

    Attributes:
        place: wrapper keys, ``state_dict`` or ``model/ema``; empty for a bare file.
        prefix: part stripped from the names.
        state: the stripped names with their tensors.
        same: names equal in name and shape to the model's.
        alone: True if the file contains no other copy of the same network.
    """

    place: str
    prefix: str
    state: Tensors
    same: frozenset[str] = frozenset()
    alone: bool = True

    @property
    def matched(self) -> tuple[int, int]:
        """Number of names equal in name and shape, and of values in them."""
        return len(self.same), sum(self.state[name].numel() for name in self.same)

    @property
    def path(self) -> str:
        """Wrapper keys and prefix."""
        return f"{self.place}/{self.prefix}" if self.place else self.prefix

    @property
    def slowness(self) -> int:
        """0 of an online copy, 1 where an average lies, 2 of a momentum copy by its own prefix."""
        if any(_MOMENTUM.search(word) for word in self.prefix.split(".")):
            return 2
        return int(any(_MOMENTUM.search(word) for word in self.place.split("/")))

    @property
    def momentum(self) -> bool:
        """True if it is the momentum copy, by the terms before its names."""
        return self.slowness > 0

    @property
    def copy(self) -> str:
        """Name of the copy."""
        if self.alone:
            return "the only copy"
        return "its momentum copy, not the online one" if self.momentum else "its online copy"

    def differs(self, other: Candidate) -> bool:
        """True if both have a tensor of the model's, with other values."""
        return differ(self.state, other.state, self.same & other.same)


def unwrap(content: Any, own: Iterable[str] = ()) -> dict[str, Tensors]:
    """Every mapping of names to tensors in a checkpoint, by the wrapper keys that lead to it.

    Args:
        content: whatever the file holds.
        own: names of the model to fill; see `torchvision_names.timms`.
    """
    places = dict(_mappings(content, ""))
    for live in _LIVE:  # the average is the state_dict; the live copy shares its buffers
        if live in places and "state_dict" in places:
            places |= {live: places["state_dict"] | places[live]}
            places = {"ema" if place == "state_dict" else place: t for place, t in places.items()}
    return {place: torchvision_names.timms(_clean(t), own) for place, t in places.items()}


def _mappings(content: Any, place: str, depth: int = 5) -> Iterator[tuple[str, Tensors]]:
    content = content.state_dict() if isinstance(content, nn.Module) else content
    if not isinstance(content, Mapping):
        return
    own = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if own:
        yield place, own
    for key, value in content.items():
        if depth and not _NO_WEIGHTS.search(str(key)):
            yield from _mappings(value, f"{place}/{key}".lstrip("/"), depth - 1)


def _clean(tensors: Tensors) -> Tensors:
    """Without torch.compile's ``_orig_mod`` in the names."""
    return {".".join(p for p in n.split(".") if p != "_orig_mod"): t for n, t in tensors.items()}


def layout(content: Any) -> tuple[str, bool, bool]:
    """Whose layout a file has, whether self-supervised, whether made for ImageNet's statistics."""
    names = [f"{place} {name}" for place, own in _mappings(content, "") for name in own]
    lightning = isinstance(content, Mapping) and "pytorch-lightning_version" in content
    for name, pattern, self_supervised, imagenet in _LAYOUTS:
        if any(re.search(pattern, one) for one in names):
            return name + " in Lightning" * lightning, self_supervised, imagenet and not lightning
    return "Lightning" if lightning else "plain", False, False


def batch_norm_epsilon(content: Any, own: Iterable[str]) -> float | None:
    """Epsilon of batch norm in a file of torchvision's; see `torchvision_names.epsilon`."""
    return torchvision_names.epsilon((n for _, t in _mappings(content, "") for n in t), own)


def is_solo_learn(content: Any) -> bool:
    """True of a checkpoint of solo-learn: Lightning's, of its own parts' names."""
    if not isinstance(content, Mapping) or "pytorch-lightning_version" not in content:
        return False
    tops = {str(name).partition(".")[0] for name in content.get("state_dict", ())}
    parts = any(re.fullmatch(r"(momentum_)?projector|predictor|prototypes", top) for top in tops)
    return (
        "genlab" not in content
        and bool(tops & {"backbone", "encoder"})
        and ("classifier" in tops and parts)
    )


def candidates(places: dict[str, Tensors], shapes: Shapes) -> list[Candidate]:
    """Candidates for the weights of a model with these names and shapes, best matches first."""
    prefixes = {prefix for tensors in places.values() for prefix in _prefixes(tensors, shapes)}
    parts = list(dict.fromkeys(name.partition(".")[0] for name in shapes))
    in_order = dict.fromkeys(["", *sorted(prefixes)])  # a set's order changes from run to run
    found = [one for prefix in in_order for one in under(places, prefix, shapes)]
    for place, tensors in places.items():
        for prefix in sorted({_before_number(name) for name in tensors} - {None}, key=str):
            state = _numbered(_strip(tensors, str(prefix)), parts)
            found.append(_candidate(place, str(prefix), state, shapes))
    return sorted(found, key=lambda one: one.matched, reverse=True)


def under(places: dict[str, Tensors], prefix: str, shapes: Shapes) -> list[Candidate]:
    """The names that begin with a prefix, in each place that has any, best first.

    ``PLACE/PREFIX``, as `Candidate.path` is written, means that place alone.
    """
    found = []
    for place, tensors in places.items():
        inside = prefix.removeprefix(f"{place}/") if place else prefix
        if state := _strip(tensors, inside):
            found.append(_candidate(place, inside, state, shapes))
    return sorted(found, key=lambda one: one.matched, reverse=True)


def choose(found: list[Candidate], take: str | None) -> Candidate | None:
    """The candidate to load; None if a copy was asked for that the file does not hold.

    Of two averages the one that is not the average of a momentum copy comes first. A file's order
    decides between equals, so that a choice is the same in every run; see `rivals`.

    Args:
        found: as `candidates` gives them.
        take: ``online`` or ``student``, ``teacher`` or ``ema``; by default the online copy, and
            the slow one where the file speaks of teacher and student or holds an averaged
            ``state_dict``.
    """
    most = found[0].matched[0]
    near = [one for one in found if one.matched[0] >= 0.9 * most]
    named_so = re.compile(r"teacher|student|^ema/")
    slow = any(named_so.search(one.path) for one in near)
    if take is not None:
        slow = take in ("teacher", "ema")
    same = [one for one in near if one.momentum == slow]
    if take is None:
        same = same or near
    best = max(same, key=lambda one: (one.matched, -one.slowness), default=None)
    if best is not None:
        best.alone = not any(one.differs(best) for one in near)
    return best


def rivals(found: list[Candidate], chosen: Candidate) -> list[Candidate]:
    """Candidates of the same kind that match no less than the chosen one."""
    rank = (chosen.matched, chosen.slowness)
    return [one for one in found if one is not chosen and (one.matched, one.slowness) == rank]


def differ(one: Tensors, other: Tensors, names: Iterable[str]) -> bool:
    """True if two states hold other values under any of some names."""
    pairs = ((one[name], other[name]) for name in names)
    return any(a is not b and not torch.equal(a, b) for a, b in pairs)


def shapes_of(model: nn.Module) -> Shapes:
    """The names and shapes of a model's state."""
    return {name: value.shape for name, value in model.state_dict().items()}


def _candidate(place: str, prefix: str, state: Tensors, shapes: Shapes) -> Candidate:
    same = (name for name, tensor in state.items() if shapes.get(name) == tensor.shape)
    return Candidate(place, prefix, state, frozenset(same))


def _prefixes(tensors: Tensors, shapes: Shapes) -> list[str]:
    """Prefixes of the model's names, most frequent first; at most ten."""
    count: Counter[str] = Counter()
    for name, tensor in tensors.items():
        words = name.split(".")
        for i in range(len(words)):
            if shapes.get(".".join(words[i:])) == tensor.shape:
                count[".".join([*words[:i], ""]) if i else ""] += 1
    return [*(prefix for prefix, _ in count.most_common(10)), *_shared(tensors)]


def _shared(tensors: Tensors, share: float = 0.3) -> list[str]:
    """The first one to three parts of many names: a prefix also where no name is the model's."""
    words = [name.split(".") for name in tensors]
    count = Counter(".".join([*w[:n], ""]) for w in words for n in (1, 2, 3) if len(w) > n)
    return [prefix for prefix, times in count.items() if times >= share * len(tensors)]


def _strip(tensors: Tensors, prefix: str) -> Tensors:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _before_number(name: str) -> str | None:
    """``backbone.`` of ``backbone.4.0.conv1.weight``: the place of an ``nn.Sequential``."""
    found = re.match(r"((?:[^.\d][^.]*\.)*)\d+\.", name)
    return found[1] if found else None


def _numbered(tensors: Tensors, parts: list[str]) -> Tensors:
    """Names of an ``nn.Sequential`` of a network's children, under the names of the children.

    The k-th number that has tensors is the network's k-th child that has any: lightly's ResNets
    (0, 1, 4-7 or 0-5) and SimCLR ports (0, 1, 3-6) are conv1, bn1, layer1-4.
    """
    numbers = {int(n.partition(".")[0]) for n in tensors if n.partition(".")[0].isdigit()}
    names = dict(zip(sorted(numbers), parts, strict=False))
    renamed = {}
    for name, tensor in tensors.items():
        number, _, rest = name.partition(".")
        if number.isdigit() and int(number) in names:
            renamed[f"{names[int(number)]}.{rest}"] = tensor
    return renamed
