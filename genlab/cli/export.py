"""``export``: a checkpoint's weights for other programs, written whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import __version__, recipes, runs
from genlab.errors import (
    CheckpointError,
    RecipeError,
    RunError,
    cannot_write,
    fault_of,
    first_line,
)
from genlab.internals import messages

if TYPE_CHECKING:
    from genlab.checkpoints.export.model_card import Origin
    from genlab.checkpoints.export.timm_folder import Parts

FILES = (
    "README.md",
    "config.json",
    "model.safetensors",
    "head.safetensors",
    "model.pt2",
    "model.onnx",
)


def export_options(parser: ArgumentParser) -> None:
    """Weights for other programs: timm, torch or ONNX."""
    parser.add_argument("ckpt", metavar="RUN|CKPT")
    parser.add_argument("--out", required=True, metavar="DIR")
    parser.add_argument("--format", default="timm", choices=("timm", "torch", "onnx"))
    parser.add_argument("--push", metavar="ID", help="then upload to this Hugging Face repository")
    parser.add_argument("--license", default="other", metavar="ID", help="SPDX id, for the card")
    parser.add_argument("--fuse", action="store_true", help="fold batch norms into convolutions")
    parser.add_argument("--force", action="store_true", help="replace what DIR holds")


def export(
    ckpt: str, out: str, format: str, push: str | None, license: str, fuse: bool, force: bool
) -> None:
    """Write the encoder (and linear head) of a run or checkpoint into a folder, and push it."""
    target = Path(out)
    _check(target, format, push, license, fuse, force)
    from genlab import checkpoints
    from genlab.checkpoints.export.model_card import card
    from genlab.checkpoints.export.timm_folder import parts_of

    file = checkpoints.chosen(ckpt)
    with _folder(target) as folder:
        try:
            content = checkpoints.read(file)
            parts = parts_of(_method(content, file), _classes(content))
            held = _write(parts, folder, format, fuse)
        except CheckpointError as error:
            raise RunError(str(error)) from None
        text = card(held, _origin(content, file), format, license, push)
        (folder / "README.md").write_text(text)
    sizes = [f"{f.name} ({f.stat().st_size / 1e6:.1f} MB)" for f in _exported(target)]
    print(f"{target}: {', '.join(sizes)}")
    if push is not None:
        _push(target, push)


def _check(
    target: Path, format: str, push: str | None, license: str, fuse: bool, force: bool
) -> None:
    """Everything that can be refused before anything is loaded."""
    if fuse and format == "timm":
        raise RecipeError("--fuse is for --format torch and onnx: timm builds batch norms itself")
    if push is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", push):
        raise RecipeError(f"--push {push} must be OWNER/NAME, a Hugging Face repository")
    if not re.fullmatch(r"[A-Za-z0-9.+-]+", license):
        raise RecipeError(
            f"--license {license!r} is not an SPDX identifier, such as mit or apache-2.0"
        )
    if os.path.exists(target) and not os.path.isdir(target):
        raise RecipeError(f"--out {target} is a file; name a folder")
    if os.path.isdir(target) and any(target.iterdir()) and not force:
        raise RecipeError(f"--out {target} is not empty; --force replaces an export in it")
    foreign = [file.name for file in _exported(target) if file.suffix in (".md", ".json")]
    if foreign and not any((target / name).is_file() for name in FILES[2:]):
        raise RecipeError(
            f"--out {target} holds {' and '.join(foreign)} of something that is not an export"
        )
    if format == "onnx":
        from genlab.checkpoints.export.programs import check_onnx
        from genlab.errors import CheckpointError

        try:
            check_onnx()
        except CheckpointError as error:
            raise RecipeError(str(error)) from None


@contextmanager
def _folder(target: Path) -> Iterator[Path]:
    """A new folder that takes its place, or puts its files there, when all of it is written."""
    made = [above for above in target.parents if not above.exists()]  # innermost first
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        place = target if target.is_dir() else target.parent  # on the same disk
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=place))
    except OSError as error:
        runs.drop_empty_folders(made)
        raise cannot_write(target, error) from None
    try:
        yield folder
        for path in (folder, *folder.iterdir()):  # made private by those who wrote them
            path.chmod(0o755 if path.is_dir() else 0o644)
        if target.exists():
            _replace(target, folder)
        else:
            os.replace(folder, target)
    except Exception as error:
        fault = fault_of(error) or messages.disk_error(error)
        if fault is None:
            raise
        raise cannot_write(target, fault) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        runs.drop_empty_folders(made)


def _replace(target: Path, folder: Path) -> None:
    """Put new files in the place of an export's; if one cannot be put there, all old ones stay."""
    new, old = list(folder.iterdir()), _exported(target)
    former = folder / ".former"
    former.mkdir()
    try:
        for file in old:
            os.replace(file, former / file.name)
        for file in new:
            os.replace(file, target / file.name)
    except OSError:
        for file in new:
            if file.name not in {one.name for one in old}:
                (target / file.name).unlink(missing_ok=True)
        for file in former.iterdir():
            os.replace(file, target / file.name)
        raise


def _exported(folder: Path) -> list[Path]:
    return [folder / name for name in FILES if (folder / name).is_file()]


def _method(content: dict[str, Any], file: Path) -> Any:
    """The method of a checkpoint, built without what only training needs."""
    from genlab import checkpoints
    from genlab.checkpoints.export.timm_folder import TRAINING_ONLY

    spec = checkpoints.described(content, file)
    kwargs = spec["init_args"].get("encoder_kwargs")
    if isinstance(kwargs, dict):
        kept = {key: value for key, value in kwargs.items() if key not in TRAINING_ONLY}
        spec["init_args"]["encoder_kwargs"] = kept
    method = checkpoints.build(spec, recipes.trust.of(file))
    checkpoints.restore(method, content, file)
    checkpoints.check_finite(method, file)
    return method


def _classes(content: dict[str, Any]) -> list[str]:
    """Names of the classes in a checkpoint; empty for one without."""
    stamp = content.get("genlab")
    names = stamp.get("classes") if isinstance(stamp, dict) else None
    return [str(name) for name in names] if isinstance(names, list) else []


def _write(parts: Parts, folder: Path, format: str, fuse: bool) -> Parts:
    """The weights in a format; returns the parts that it holds."""
    from genlab import networks
    from genlab.checkpoints.export import programs
    from genlab.checkpoints.export.timm_folder import write_timm

    if format == "timm":
        held = write_timm(parts, folder)
        if held.num_classes != parts.num_classes:
            print(f"timm's {parts.name} has no place for the head: features only", file=sys.stderr)
        return held
    encoder = networks.fuse_conv_bn(parts.encoder) if fuse else parts.encoder
    program = programs.Program(encoder, parts.head)
    if format == "torch":
        programs.write_torch(parts, folder, program)
    elif not programs.write_onnx(parts, folder, program):
        print("not compared: onnxruntime is not installed", file=sys.stderr)
    return parts


def _origin(content: dict[str, Any], file: Path) -> Origin:
    """What the checkpoint and its run directory tell of the weights."""
    from genlab.checkpoints.export.model_card import Origin
    from genlab.training.provenance.code import revisions

    stamp, run = content.get("genlab", {}), file.parent.parent
    facts, versions = runs.read_json(run / "run.json"), {"genlab": __version__}
    versions |= {k: v for k, v in facts.get("versions", {}).items() if k in ("torch", "timm")}
    recipe = stamp.get("recipe") or {}
    return Origin(
        method=str(stamp.get("class_path", "")).rpartition(".")[2],
        recipe=recipe,
        name=stamp.get("name", ""),
        figures=_figures(runs.read_json(run / "metrics.json"), file.name, content),
        facts={
            "seed": recipe.get("seed_everything"),
            "checkpoint": f"{file.name}, step {content['global_step']:,}, epoch {content['epoch']}",
            "weights": "running average (EMA)" if "live_weights" in content else None,
            "code": ", ".join(f"{k} {v}" for k, v in revisions(facts.get("git")).items()) or None,
            "versions": ", ".join(f"{k} {v}" for k, v in versions.items()),
        },
    )


def _figures(metrics: dict[str, Any], name: str, content: dict[str, Any]) -> dict[str, Any]:
    """Of all metrics of a run, those measured on this checkpoint."""
    if name == "best.ckpt":
        found = {k.removeprefix("best/"): v for k, v in metrics.items() if k.startswith("best/val")}
    elif metrics.get("val_step", metrics.get("step")) == content["global_step"]:
        found = {k: v for k, v in metrics.items() if k.startswith("val/")}
    else:
        found = {}
    if metrics.get("test_checkpoint") == name:
        found |= {k: v for k, v in metrics.items() if k.startswith("test/")}
    return found


def _push(folder: Path, repository: str) -> None:
    """Upload the folder to a Hugging Face repository, made if it is not there."""
    from huggingface_hub import HfApi

    try:
        api = HfApi(library_name="genlab", library_version=__version__)
        api.create_repo(repository, exist_ok=True)
        where = api.upload_folder(
            repo_id=repository, folder_path=folder, allow_patterns=list(FILES),
            commit_message=f"genlab {__version__} export",
        )  # fmt: skip
    except Exception as error:  # the hub's client raises a dozen kinds, and its transport's
        raise RunError(
            f"not pushed to {repository}: {first_line(error)}\n"
            f"{folder} is complete: repeat with --force, after `hf auth login` if access was denied"
        ) from None
    print(f"pushed to {where}")
