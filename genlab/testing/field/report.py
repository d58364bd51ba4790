"""A field report: one JSON and one page, without anything of its user's."""

from __future__ import annotations

import json
import math
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import genlab
from genlab.files import replacing
from genlab.recipes import imports
from genlab.testing.field.hiding import without_names
from genlab.testing.field.place import Place
from genlab.testing.field.trying import Result, checks
from genlab.training.engine import machine
from genlab.training.provenance import git

LIBRARIES = ("lightning", "torchvision", "timm", "torchmetrics")


def facts(place: Place) -> dict[str, Any]:
    """Device, driver, versions, revision and date."""
    device = machine.facts(place.device)
    processor = device["processor"]
    found: dict[str, Any] = {
        "device": processor if place.small else device["device"],
        "kind": place.device.type,
        "count": 1 if place.small else place.gpus,
    }
    if not place.small:
        properties = torch.cuda.get_device_properties(place.device)
        found |= {
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "capability": f"{properties.major}.{properties.minor}",
            "driver": _driver(),
            "cudnn": torch.backends.cudnn.version(),
            "processor": processor,
        }
    found |= {"torch": str(torch.__version__), "cuda": torch.version.cuda or "none"}
    found |= {name: metadata.version(name) for name in LIBRARIES}
    found |= {"python": platform.python_version(), "genlab": genlab.__version__}
    return found | {"revision": _revision(), "date": f"{datetime.now(UTC):%Y-%m-%d}"}


def content(place: Place, results: Sequence[Result]) -> dict[str, Any]:
    """All that a report says, as plain values."""
    found = [
        {"check": one.check, "subject": one.subject, "seconds": round(one.seconds, 2)}
        | {"measurements": [_plain(asdict(measurement)) for measurement in one.measurements]}
        for one in results
    ]
    return {"form": 1, "facts": facts(place), "checks": found}


def write(place: Place, results: Sequence[Result], folder: Path) -> tuple[Path, Path]:
    """Write the JSON and the page into a folder, which is made; their paths."""
    told = content(place, results)
    device = re.sub(r"[^a-z0-9]+", "_", str(told["facts"]["device"]).lower()).strip("_")
    name = f"{told['facts']['date']}_{device or 'device'}"
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / f"{name}.json", folder / f"{name}.md"
    for file, text in zip(files, (json.dumps(told, indent=1) + "\n", page(told)), strict=True):
        with replacing(file) as draft:
            draft.write_text(text, encoding="utf-8")
    return files


def page(told: dict[str, Any]) -> str:
    """The page of a report's content, Markdown."""
    known = told["facts"]
    lines = [f"# {known['device']}, {known['date']}", ""]
    if known["kind"] == "cpu":
        lines += ["No GPU took part: this shows that the kit works, and nothing of a GPU.", ""]
    lines += [f"- {name.replace('_', ' ')}: {value}" for name, value in known.items()]
    every = [measurement for one in told["checks"] for measurement in one["measurements"]]
    verdicts = [measurement["verdict"] for measurement in every]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
    total = sum(one["seconds"] for one in told["checks"])
    lines += ["", f"{len(every)} measurements: {counts or 'none'}; {total:.0f} s.", ""]
    for name, check in checks().items():
        of_it = [one for one in told["checks"] if one["check"] == name]
        if of_it:
            seconds = sum(one["seconds"] for one in of_it)
            lines += [f"## {name}", "", f"{check.about} ({seconds:.0f} s)", "", *_table(of_it), ""]
    return "\n".join(lines)


def _table(found: list[dict[str, Any]]) -> list[str]:
    rows = [
        "| subject | verdict | value | tolerance | unit | note |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
        for measurement in one["measurements"]:
            cells = [measurement["subject"], measurement["verdict"], _number(measurement["value"])]
            cells += [_number(measurement["tolerance"]), measurement["unit"], measurement["note"]]
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return rows


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float | int) else str(value or "")


def _plain(one: dict[str, Any]) -> dict[str, Any]:
    """A measurement as JSON has it, its text without folders and names of this machine."""
    value = one["value"]
    odd = isinstance(value, float) and not math.isfinite(value)
    return one | {"note": without_names(one["note"]), "value": str(value) if odd else value}


def _driver() -> str:
    """Version of NVIDIA's driver."""
    program = shutil.which("nvidia-smi")
    words = ["--query-gpu=driver_version", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        if program is not None:
            done = subprocess.run(
                [program, *words], capture_output=True, text=True, check=True, timeout=20
            )
            return done.stdout.split("\n")[0].strip() or "unknown"
    return "unknown"


def _revision() -> str:
    """Git's revision of the checkout that genlab lies in, and whether it has been changed."""
    face = imports.ROOT / "__init__.py"
    try:
        top, revision = git.top(imports.ROOT)
        if not git.ask(imports.ROOT, "ls-files", "-z", "--", str(face)):
            return "no checkout"  # installed into an environment that lies inside another one
        return f"{revision} with changes" if git.diff(top) else revision
    except git.GitError:
        return "no checkout"
