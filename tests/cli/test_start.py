"""What a training may load before its first step: every import is time that a user waits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import Shell

OURS = {  # of genlab's packages whose modules are loaded one by one
    "methods": {"vae"},
    "data": {
        "digits", "errors", "exact_resume", "finding", "images", "in_memory", "labels", "loader",
        "naming", "on_device", "sampling", "splits",
    },
    "cli": {"arguments", "fit", "streams"},
    "training": {
        "building", "changed_encoder", "changes", "class_names", "continuing", "demands",
        "endings", "engine", "error_kinds", "file_head", "fitting", "keeping", "length", "parsing",
        "provenance", "record", "refusals", "sources", "tracking",
    },
    "cluster": {"launch", "signals", "slurm"},
}  # fmt: skip
OTHERS = {  # besides those that torch and lightning load, and what these load in turn
    "rich": {"pygments", "markdown_it", "mdurl"},
    "jsonargparse": {"docstring_parser", "typeshed_client"},
    "sklearn": {"joblib", "narwhals", "pandas", "threadpoolctl", "cloudpickle", "pytz", "tzdata"},
    "timm": {
        "anyio", "click", "filelock", "h11", "httpcore", "httpcore2", "httpx", "httpx2", "hf_xet",
        "huggingface_hub", "idna", "safetensors", "sniffio", "truststore", "certifi",
    },
    "wandb": {
        "annotated_types", "attr", "attrs", "click", "google", "opentelemetry", "platformdirs",
        "pydantic", "pydantic_core", "typing_inspection", "xxhash", "git", "gitdb", "psutil",
        "sentry_sdk", "setproctitle", "smmap",
    },
}  # fmt: skip


def top(modules: list[str]) -> set[str]:
    """Packages outside the standard library; those that Cython makes up are left out."""
    names = {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names)
    return {name for name in names if not name.startswith("_")}


def test_the_modules_that_are_loaded_before_the_first_step(shell: Shell) -> None:
    callback = "trainer.callbacks+=[{class_path: tests.programs.SayModules}]"
    here = str(Path(__file__).parents[2])
    out, _ = shell.anew("fit", "vae/digits", callback, PYTHONPATH=here)
    loaded = json.loads(out.strip().splitlines()[-1])
    program = "import torch, lightning, sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    free = top(json.loads(done.stdout.splitlines()[-1]))
    assert top(loaded) - free - {"genlab", "tests"} <= {*OTHERS}.union(*OTHERS.values())
    for package, names in OURS.items():
        found = {name.split(".")[2] for name in loaded if name.startswith(f"genlab.{package}.")}
        assert found <= names, package
    assert not [name for name in loaded if name.startswith("genlab.evaluation")]
