"""Facts of a machine that decide the bits of a training."""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch


def facts(device: torch.device) -> dict[str, Any]:
    """Device, processor, instruction set, threads and version of torch.

    Args:
        device: device of the training.
    """
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def differences(known: dict[str, Any]) -> str:
    """Facts of a training's machine that are others here, as text; empty for none.

    Args:
        known: its facts; the number of threads can be set, and of processes is not compared.
    """
    kind = str(known.get("device", "cpu"))
    here = facts(torch.device("cuda" if kind != "cpu" and torch.cuda.is_available() else "cpu"))
    keys = ("device", "processor", "instructions", "torch")
    return ", ".join(f"{k} {known.get(k)}, here {here[k]}" for k in keys if known.get(k) != here[k])


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
