"""Views on the device next to those of the CPU, of the same draws."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from genlab import augment
from genlab.augment import binarization, ct_ops, ops
from genlab.augment.mixing import Mixing
from genlab.augment.rand_augment import strong_from
from genlab.data.on_device import Finish, moved, unit
from genlab.testing.field.measurement import Measurement, holds, skipped, within
from genlab.testing.field.place import Place

NEAR = 1e-4  # of values in [0, 1]
AS_TORCH_HAS_IT = 4e-3  # with convolutions in TensorFloat-32, torch's default: a grey level
FEW = 1e-3  # share of values on the other side of a step: of a grey level, of the nearest pixel
COUNT, SIDE = 64, 32
EVERYTHING: dict[str, Any] = {
    "flip": True, "translate": 2, "rotate": 10.0, "scale": 0.1, "shear": 5.0, "crop": (0.4, 1.0),
    "erase": 0.5, "cutout": 6, "brightness": 0.3, "contrast": 0.3, "fill": "noise",
}  # fmt: skip
STEPS = ("rand_augment", "ctaugment")  # they round to grey levels and to the nearest pixel
MIXES = ("mixup", "cutmix")
Make = Callable[[str, Tensor, torch.device], dict[str, Tensor]]
SUBJECTS = (*augment.PRESETS, "augment", "resize", "binarize", *STEPS, *MIXES)


def views(place: Place, subject: str) -> Iterator[Measurement]:
    """Views and batch augmentation equal the CPU's, with the same draws, and wait for nothing."""
    seen, make = bytes_(), MADE.get(subject, _preset)
    here = make(subject, seen, torch.device("cpu"))
    for tf32, near in ((False, NEAR), (True, AS_TORCH_HAS_IT)):
        if tf32 and place.small:
            continue
        with place.side(), place.tf32(tf32):
            there = make(subject, seen, place.device)
        name = f"{subject}, {'TF32 on' if tf32 else 'TF32 off'}"
        for part, value in here.items():
            apart = (there[part].cpu().double() - value.double()).abs()
            if subject in STEPS and part == "image":
                share = float((apart > near).double().mean())
                yield within(f"{name}, {part}", share, FEW, f"of values over {near:g}", "share")
            else:
                yield within(f"{name}, {part}", float(apart.max()), near, unit="of [0, 1]")
    yield _waits(place, subject, seen.to(place.device))


def _waits(place: Place, subject: str, seen: Tensor) -> Measurement:
    """The second batch; the first makes constants."""
    if place.small and subject in MIXES:
        return skipped(f"{subject}, waits", "it draws on the CPU, which cannot be told apart here")
    apart = place.small and subject in STEPS  # what draws on the CPU is left out there
    work = _operations(subject, unit(seen)) if apart else _work(subject, seen)
    noted = list[str]()
    with place.side():
        work(1)
        with place.watch(noted):
            work(2)
    return holds(f"{subject}, waits", not noted, ", ".join(dict.fromkeys(noted)))


def _operations(subject: str, image: Tensor) -> Callable[[int], Any]:
    """All operations of a strong augmentation, without its draws."""
    known: dict[str, Any] = {"rand_augment": ops.OPS, "ctaugment": ct_ops.CT_OPS}
    shape = (COUNT,) if subject == "rand_augment" else (COUNT, 4)
    given = torch.rand(shape, generator=_generator(4))
    return lambda seed: [act(image, given) for act in known[subject].values()]


def _work(subject: str, seen: Tensor) -> Callable[[int], Any]:
    """What training does with the bytes of a batch, by the batch's seed."""
    image, label = unit(seen), torch.arange(COUNT, device=seen.device) % 10
    calls: dict[str, Callable[[int], Any]] = {
        "augment": lambda seed: augment.Augment(**EVERYTHING)(image, seed),
        "resize": lambda seed: Finish(20, None, "none")(seen, seed),
        "binarize": lambda seed: Finish(None, None, "dynamic")(seen, seed),
    }
    if subject in STEPS:
        policy: Any = strong_from(subject)
        return lambda seed: policy(image, seed)
    if subject in MIXES:
        mixing = Mixing(10, **{subject: 1.0})
        return lambda seed: mixing(image, label)
    made: Any = calls.get(subject) or augment.views_from(subject)
    return made if subject in calls else lambda seed: made(image, seed)


def bytes_() -> Tensor:
    """Images, their bytes at random: (64, 3, 32, 32) uint8."""
    generator = torch.Generator().manual_seed(7)
    shape = (COUNT, 3, SIDE, SIDE)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def _unit(seen: Tensor, device: torch.device) -> Tensor:
    return unit(seen.to(device))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _preset(subject: str, seen: Tensor, device: torch.device) -> dict[str, Tensor]:
    made = augment.views_from(subject)
    assert made is not None
    found = {}
    for k, one in enumerate(made.views):
        view: Any = one
        drawn = _sent(view.draw(tuple(seen.shape), _generator(k)), device)
        found[f"view {k + 1}"] = view.apply_to(_unit(seen, device), drawn)
    return found


def _augment(subject: str, seen: Tensor, device: torch.device) -> dict[str, Tensor]:
    change = augment.Augment(**EVERYTHING)
    drawn = _sent(change.draw(tuple(seen.shape), _generator(1)), device)
    return {"image": change.apply_to(_unit(seen, device), drawn)}


def _strong(subject: str, seen: Tensor, device: torch.device) -> dict[str, Tensor]:
    policy: Any = strong_from(subject)
    drawn = policy.draw(tuple(seen.shape), _generator(2))  # stay on the CPU
    if subject == "rand_augment":
        return {"image": policy.apply_to(_unit(seen, device), drawn)}
    policy = copy.deepcopy(policy).to(device)
    tried = policy.probe(_unit(seen, device), 3)
    policy.update(tried["op"], tried["bin"], torch.linspace(0, 1, COUNT, device=device))
    return {"rates": policy.rates, "image": policy.apply_to(_unit(seen, device), drawn)}


def _resize(subject: str, seen: Tensor, device: torch.device) -> dict[str, Tensor]:
    return {f"{side} px": Finish(side, None, "none")(seen.to(device)) for side in (20, 48)}


def _binarize(subject: str, seen: Tensor, device: torch.device) -> dict[str, Tensor]:
    drawn, cpu = binarization.bits, torch.device("cpu")

    def on_the_cpu(shape: tuple[int, ...], seed: int, _: torch.device) -> Tensor:
        return moved(drawn(shape, seed, cpu), device)

    with mock.patch.object(binarization, "bits", on_the_cpu):
        return {"image": Finish(None, None, "dynamic")(seen.to(device), 5)}


def _mixing(subject: str, seen: Tensor, device: torch.device) -> dict[str, Tensor]:
    torch.manual_seed(11)
    label = moved(torch.arange(COUNT) % 10, device)
    image, target = Mixing(10, **{subject: 1.0})(_unit(seen, device), label)
    return {"image": image, "target": target}


def _sent(drawn: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    sent: dict[str, Tensor] = moved(drawn, device)
    return sent


MADE: dict[str, Make] = {
    "augment": _augment, "resize": _resize, "binarize": _binarize,
    "rand_augment": _strong, "ctaugment": _strong, "mixup": _mixing, "cutmix": _mixing,
}  # fmt: skip
