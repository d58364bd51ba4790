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

PROGRAM = """import gc, sys, json, runpy
gc.disable()
import torch, lightning
print(json.dumps(sorted(sys.modules)), flush=True)
sys.argv = {words}
runpy.run_module("genlab", run_name="__main__", alter_sys=True)
"""


def top(modules: list[str]) -> set[str]:
    """Packages outside the standard library; those that Cython makes up are left out."""
    names = {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names)
    return {name for name in names if not name.startswith("_")}


def test_the_modules_that_are_loaded_before_the_first_step(shell: Shell) -> None:
    callback = "trainer.callbacks+=[{class_path: tests.programs.SayModules}]"
    words = ["genlab", "fit", "vae/digits", callback]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(words=words)],
        cwd=shell.folder,
        env=shell.environment({"PYTHONPATH": str(Path(__file__).parents[2])}),
        capture_output=True,
        text=True,
    )
    said = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(said) == 2, done.stdout + done.stderr
    free, loaded = top(json.loads(said[0])), json.loads(said[1])
    assert top(loaded) - free - {"genlab", "tests"} <= {*OTHERS}.union(*OTHERS.values())
    for package, names in OURS.items():
        found = {name.split(".")[2] for name in loaded if name.startswith(f"genlab.{package}.")}
        assert found <= names, package
    assert not [name for name in loaded if name.startswith("genlab.evaluation")]
    assert "wandb.sdk.launch" not in loaded
