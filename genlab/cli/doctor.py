"""``doctor``: what this machine has, and what to do where something is missing."""

from __future__ import annotations

import os
import shutil
from argparse import ArgumentParser
from pathlib import Path

FOLDERS = {
    "MNIST": "MNIST/raw",
    "FashionMNIST": "FashionMNIST/raw",
    "CIFAR10": "cifar-10-batches-py",
    "CIFAR100": "cifar-100-python",
    "SVHN": "train_32x32.mat",
    "STL10": "stl10_binary",
}


def doctor_options(parser: ArgumentParser) -> None:
    """Report what this machine has."""


def doctor() -> None:
    """Print versions, devices, data, W&B and Slurm; a line each."""
    import torch

    from genlab.training.record import versions
    from genlab.training.tracking.settings import wandb_state

    rows = list(versions().items())
    rows.append(("CPU", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"))
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    rows.append(("GPUs", ", ".join(gpus) or "none"))
    backends = [n for n in ("nccl", "gloo", "mpi") if _has_backend(n)]
    rows.append(("distributed", ", ".join(backends) or "none"))
    root = Path(os.environ.get("GENLAB_DATA", "data"))
    found = [name for name, folder in FOLDERS.items() if (root / folder).exists()]
    source = "GENLAB_DATA" if "GENLAB_DATA" in os.environ else "default; set GENLAB_DATA to change"
    names = ", ".join(["Digits (embedded)", *found])
    rows.append(("data", f"{names}; looked in {root} ({source})"))
    rows.append(("W&B", wandb_state()))
    sbatch = shutil.which("sbatch")
    rows.append(("Slurm", sbatch or "no sbatch on the PATH: not on a Slurm login node"))
    rows.append(("runs", _runs_folder(Path("runs").absolute())))
    for name, value in rows:
        print(f"{name:<13} {value}")


def _runs_folder(path: Path) -> str:
    place = path if path.exists() else path.parent
    free = shutil.disk_usage(place).free / 2**30
    writable = "writable" if os.access(place, os.W_OK) else "NOT writable: set track.runs=DIR"
    return f"{path}: {writable}, {free:.0f} GiB free"


def _has_backend(name: str) -> bool:
    import torch.distributed as dist

    checks = {"nccl": "is_nccl_available", "gloo": "is_gloo_available", "mpi": "is_mpi_available"}
    return dist.is_available() and bool(getattr(dist, checks[name])())
