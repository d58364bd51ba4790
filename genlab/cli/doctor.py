"""``doctor``: what this machine has, and what to do where something is missing.

With ``--gpu`` it tries genlab on the machine's GPUs and writes a report to send back.
"""

from __future__ import annotations

import os
import shutil
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING

from genlab.errors import RecipeError, nearest

if TYPE_CHECKING:
    from genlab.testing.field import Result

FOLDERS = {
    "MNIST": "MNIST/raw",
    "FashionMNIST": "FashionMNIST/raw",
    "CIFAR10": "cifar-10-batches-py",
    "CIFAR100": "cifar-100-python",
    "SVHN": "train_32x32.mat",
    "STL10": "stl10_binary",
    "Omniglot": "omniglot-py",
}


NO_GPU = "no GPU here: skipped; genlab doctor --gpu --device cpu tries the kit itself"


def doctor_options(parser: ArgumentParser) -> None:
    """Report what this machine has; with --gpu, try genlab on its GPUs.

    The report, one JSON and one page, holds the device's name, versions, numbers, tolerances and
    verdicts; no path, host or user. Exit code 1 when a check fails, 0 where there is no GPU.
    """
    parser.add_argument("--gpu", action="store_true", help="try genlab on this machine's GPUs")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="cpu: the same checks, small")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="of the report (field-report)")
    parser.add_argument("--only", action="append", metavar="CHECK", help="may be repeated")


def doctor(
    gpu: bool = False,
    device: str | None = None,
    out: Path | None = None,
    only: list[str] | None = None,
) -> int:
    """Print versions, devices, data, W&B and Slurm, a line each; or try genlab on a GPU."""
    if gpu:
        return _field(device or "cuda", out or Path("field-report"), only or [])
    for option, value in (("--device", device), ("--out", out), ("--only", only)):
        if value is not None:
            raise RecipeError(f"{option} requires --gpu", "the command line")
    _print_facts()
    return 0


def _field(device: str, out: Path, only: list[str]) -> int:
    """Try the checks, a line each, and write the report; 1 if one fails."""
    from genlab.testing import field

    known = field.checks()
    for name in only:
        if name not in known:
            raise RecipeError(f"no check {name}", "--only", nearest(name, known))
    if out.exists() and not out.is_dir():
        raise RecipeError(f"--out {out} is not a folder")
    if device == "cuda" and not field.found():
        print(NO_GPU)
        return 0
    place, results = field.Place(device), list[field.Result]()
    try:
        for result in field.run(place, only):
            results.append(result)
            print(line(result), flush=True)
    except KeyboardInterrupt:
        print("stopped: the report has the checks so far", file=sys.stderr)
    finally:
        place.close()
    for file in field.write(place, results, out):
        print(file)
    return int(any(result.bad for result in results) or not results)


def line(result: Result) -> str:
    """A check of a subject: its worst verdict, its seconds, and what is wrong."""
    wrong = [measurement for measurement in result.measurements if measurement.bad]
    note = "; ".join(f"{measurement.subject} {measurement.note}".strip() for measurement in wrong)
    name = f"{result.check:10s} {result.subject:14s} {result.seconds:5.1f} s"
    return f"{result.verdict:8s} {name} {note}".rstrip()


def _print_facts() -> None:
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
