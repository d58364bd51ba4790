"""GPUs as their vendors publish them, and the assumptions of a plan: both from ``gpus.yaml``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from genlab.errors import RecipeError, nearest

FILE = Path(__file__).parent / "gpus.yaml"
GB = 10**9
OTHER = "other"  # kind of a GPU that only numbers describe
NVML = (  # parts of a GPU's name in Slurm that are not in the table's
    (r"^nvidia-|^amd-", ""), (r"^(tesla|geforce|quadro|instinct)-", ""), (r"^rtx-(?=\d)", "rtx"),
    (r"^rtx-(?=a\d)", ""), (r"-(sxm\d?|hbm\d?e?)\b", ""), (r"(\d+)gb\b", r"\1"),
    (r"-pcie-(\d+)$", r"-\1-pcie"),
)  # fmt: skip
TENSOR = {"bf16": "bf16", "16": "fp16"}  # precision of a trainer -> type of its products


@dataclass(frozen=True)
class Gpu:
    """One GPU's published peaks.

    Args:
        kind: its short name.
        name: the vendor's name.
        tensor: TFLOPS of 16-bit products, dense; None where unknown.
        tf32: TFLOPS of TF32 products, dense; None where it has none.
        fp32: TFLOPS of float32 products; None where unknown.
        memory: GB, as the data sheet says; read as 10^9 bytes.
        bandwidth: GB/s of its memory; None where unknown.
        link: GB/s between two GPUs of a node, both directions together.
        wire: kind of that link.
        halves: types that its tensor cores multiply, of ``bf16`` and ``fp16``.
        source: data sheet and year.
    """

    kind: str
    name: str
    tensor: float | None
    tf32: float | None
    fp32: float | None
    memory: float
    bandwidth: float | None
    link: float
    wire: str
    halves: tuple[str, ...]
    source: str

    @property
    def bytes(self) -> int:
        """Its memory in bytes."""
        return int(self.memory * GB)


@dataclass(frozen=True)
class Peak:
    """Arithmetic that a precision reaches at most.

    Args:
        tflops: published TFLOPS.
        label: type of the products.
        note: difference from what the recipe says; empty for none.
    """

    tflops: float
    label: str
    note: str = ""


@dataclass(frozen=True)
class Assumption:
    """A number that no vendor publishes.

    Args:
        value: the number.
        unit: its unit.
        why: its meaning, and the option that changes it.
    """

    value: float
    unit: str
    why: str


@cache
def _file() -> Mapping[str, Any]:
    content: Mapping[str, Any] = yaml.safe_load(FILE.read_text())
    return content


@cache
def known() -> Mapping[str, Gpu]:
    """All GPUs of the table by their kind."""
    rows: Mapping[str, Any] = _file()["gpus"]
    return {
        kind: Gpu(kind, **(row | {"halves": tuple(row["halves"])})) for kind, row in rows.items()
    }


@cache
def assumptions() -> Mapping[str, Assumption]:
    """All assumptions by name."""
    rows: Mapping[str, Any] = _file()["assumptions"]
    return {name: Assumption(**row) for name, row in rows.items()}


def assumed(name: str) -> float:
    """Value of an assumption; a percentage as a fraction.

    Args:
        name: key in ``gpus.yaml``.
    """
    found = assumptions()[name]
    return found.value / 100 if found.unit == "%" else found.value


def find(kind: str, advice: str = "any other: --memory GB --tflops N") -> Gpu:
    """A GPU of the table.

    Args:
        kind: its name; upper and lower case are alike.
        advice: line of the error about a GPU that the table lacks.

    Raises:
        RecipeError: an unknown one, with the nearest names.
    """
    wanted = kind.lower()
    if wanted in known():
        return known()[wanted]
    family = _family(wanted)
    hint = f"did you mean {' or '.join(family)}?" if family else nearest(wanted, known())
    raise RecipeError(f"unknown GPU {kind}", hint=f"{hint}\n{advice}")


def _family(word: str) -> list[str]:
    """Kinds of one name, such as ``a100``, in several sizes: the smallest memory first."""
    found = [gpu for kind, gpu in known().items() if kind.startswith(f"{word}-")]
    return [gpu.kind for gpu in sorted(found, key=lambda gpu: gpu.memory)]


def chosen(
    kind: str | None,
    memory: float | None = None,
    tflops: float | None = None,
    bandwidth: float | None = None,
) -> Gpu:
    """A GPU of the table, with other numbers where some are given; or one of numbers alone.

    Args:
        kind: its name; None for one that only numbers describe.
        memory: GB.
        tflops: arithmetic in the recipe's precision.
        bandwidth: GB/s of its memory.

    Raises:
        RecipeError: an unknown kind, too few numbers, or one that is not above 0.
    """
    for name, value in ("memory", memory), ("tflops", tflops), ("bandwidth", bandwidth):
        if value is not None and not 0 < value < 1e9:
            raise RecipeError(f"--{name} {value:g} must be above 0")
    if kind is None and (memory is None) != (tflops is None):
        has, lacks = ("memory", "tflops") if tflops is None else ("tflops", "memory")
        raise RecipeError(f"--{has} without --gpu requires --{lacks}")
    if kind is None and memory is None:
        raise RecipeError("no GPU is named: --gpu KIND, or --memory GB --tflops N",
                          hint=f"kinds: {', '.join(known())}")  # fmt: skip
    given = {"memory": memory, "bandwidth": bandwidth} | dict.fromkeys(
        ("tensor", "tf32", "fp32"), tflops
    )
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if kind is not None:
        gpu = find(kind)
        source = f"{gpu.source}; {', '.join(_options(memory, tflops, bandwidth))}"
        return replace(gpu, **changes, source=source) if changes else gpu
    link = assumed("link")
    own = Gpu(OTHER, "a GPU of these numbers", None, None, None, 0, None, link, "PCIe 4, assumed",
              ("bf16", "fp16"), ", ".join(_options(memory, tflops, bandwidth)))  # fmt: skip
    return replace(own, **changes)


def _options(memory: float | None, tflops: float | None, bandwidth: float | None) -> Iterable[str]:
    pairs = ("memory", memory), ("tflops", tflops), ("bandwidth", bandwidth)
    return [f"--{name} {value:g}" for name, value in pairs if value is not None]


def peak(gpu: Gpu, precision: str, convolves: bool) -> Peak:
    """Arithmetic that a GPU does at most in a trainer's precision.

    Args:
        gpu: the GPU.
        precision: ``trainer.precision``.
        convolves: True where most products are convolutions, which torch does in TF32 by default;
            matrix products stay in float32.
    """
    half = next((name for key, name in TENSOR.items() if precision.startswith(key)), None)
    if half in gpu.halves and gpu.tensor is not None:
        return Peak(gpu.tensor, f"{half}, tensor cores")
    plain = gpu.fp32 or gpu.tensor or 0.0
    if half is not None:
        others = [f"{name}-mixed" for name in ("16",) if "fp16" in gpu.halves]
        instead = f"; trainer.precision={others[0]} has them" if others else ""
        return Peak(
            plain, "fp32",
            f"{gpu.name} has no {half} tensor cores: torch emulates it, counted at the rate of "
            f"float32 (assumed){instead}",
        )  # fmt: skip
    if convolves and gpu.tf32 is not None:
        return Peak(gpu.tf32, "tf32, tensor cores")
    return Peak(plain, "fp32")


def kind_in(words: Iterable[str]) -> Gpu | None:
    """The GPU that options of a Slurm job name, such as ``gpu:a100-80:4`` or ``v100-32&nvlink``.

    Of several, and of a name that several sizes share, it is the one of the smallest memory.

    Args:
        words: values of options; None where none names a GPU of the table.
    """
    for word in words:
        named = [_named(part) for part in re.split(r"[^a-z0-9_-]+", word.lower())]
        kinds = [known()[kind] for kind in named if kind is not None]
        if kinds:
            return min(kinds, key=lambda gpu: gpu.memory)
    return None


def _named(word: str) -> str | None:
    """The kind that Slurm calls so, by itself or as NVML does: ``nvidia_a100-sxm4-40gb``."""
    name = word.replace("_", "-")
    for pattern, short in NVML:
        name = re.sub(pattern, short, name)
    for form in (name, name.removesuffix("-pcie")):
        if form in known():
            return form
        if family := _family(form):
            return family[0]
        sized = re.fullmatch(r"(.+?)-(\d+)((?:-pcie)?)", form)
        bare = known().get(sized[1] + sized[3]) if sized else None
        if sized and bare and bare.memory == int(sized[2]):
            return bare.kind
    return None
