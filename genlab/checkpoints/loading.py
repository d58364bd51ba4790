"""Load a method from its checkpoint: the file names a class of genlab, of a plugin or trusted."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import lightning as L

from genlab import recipes
from genlab.checkpoints.foreign.pretrained import LOADS
from genlab.checkpoints.identity import chosen
from genlab.checkpoints.safe_read import content as content_of
from genlab.errors import CheckpointError, RecipeError, RunError
from genlab.internals import lightning_parts, messages

PARTS: dict[str, type] = {
    "state_dict": dict, "optimizer_states": list, "lr_schedulers": list, "loops": dict,
    "callbacks": dict, "hyper_parameters": dict, "genlab": dict, "global_step": int, "epoch": int,
    "pytorch-lightning_version": str,
}  # fmt: skip
HOW = "genlab test RECIPE model.encoder=NAME model.pretrained=FILE model.head=file measures a file"
MOST_STEPS = 2**62
FROM_RUNS = ("tokenizer", "space")  # arguments that name a run or checkpoint of genlab


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a checkpoint file or of a run's selected checkpoint, on the CPU.

    Args:
        path: a ``.ckpt`` file, or a run directory (its best checkpoint, else its newest whole one).

    Returns:
        Lightning's checkpoint dictionary. Read with ``weights_only=True``: no code can run.

    Raises:
        CheckpointError: missing, truncated, not a checkpoint, or containing foreign objects.
    """
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise CheckpointError(f"a run or a checkpoint is a name or a file, not {path!r}")
    try:
        file = chosen(path)
    except RunError as error:
        raise CheckpointError(str(error)) from None
    content = content_of(file)
    if not isinstance(content, dict) or "state_dict" not in content:
        hint = f"\n{HOW}" if isinstance(content, dict) else ""  # weights alone, from elsewhere
        raise CheckpointError(f"{file} is not a Lightning checkpoint (no state_dict){hint}")
    _check_parts(content, file)
    return content


def _check_parts(content: dict[str, Any], file: Path) -> None:
    """Refuse a checkpoint whose parts are not what Lightning writes."""
    for name, kind in PARTS.items():
        if name in content and not isinstance(content[name], kind):
            found = type(content[name]).__name__
            raise CheckpointError(f"{file} is damaged: {name} is a {found}, not a {kind.__name__}")
    wrong = [k for k, v in content["state_dict"].items() if not _is_word(k)]
    if wrong or not 0 <= content.get("global_step", 0) < MOST_STEPS:
        what = f"a weight is named {wrong[0]!r}" if wrong else "its step is out of range"
        raise CheckpointError(f"{file} is damaged: {what}")


def load(path: str | os.PathLike[str], trust: Collection[str] = ()) -> L.LightningModule:
    """The method in a checkpoint, in eval mode on the CPU.

    Args:
        path: see `read`.
        trust: classes, or packages of them, that the file may name besides those of genlab, of
            plugins, and those that you typed when you trained this run.

    Raises:
        CheckpointError: see `read`; also a class that is not trusted, or weights that do not fit.
    """
    content = read(path)
    path = Path(path)
    with recipes.allow(trust):
        spec = described(content, path)
        return restore(build(spec, recipes.trust.of(chosen(path))), content, path)


def described(content: dict[str, Any], path: str | Path) -> dict[str, Any]:
    """The `spec` of the method that a checkpoint's content holds.

    Raises:
        CheckpointError: it names no class.
    """
    given, stamp = content.get("hyper_parameters") or {}, content.get("genlab") or {}
    if not (isinstance(given, dict) and isinstance(stamp, dict) and all(map(_is_word, given))):
        raise CheckpointError(f"{path} is damaged: its hyper-parameters are not named values")
    arguments = dict(given)
    written = lightning_parts.take_class_path(arguments)
    class_path = written or stamp.get("class_path")
    if class_path is None:
        raise CheckpointError(f"{path} names no class: it was not written by genlab\n{HOW}")
    return {"class_path": class_path, "init_args": without_download(arguments)}


def _is_word(key: object) -> bool:
    return isinstance(key, str)


def without_download(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments that fetch and open no weights: a checkpoint's own are about to replace them."""
    kept = {}
    for name, value in arguments.items():
        if name == "pretrained" and value:
            value = False
        elif name == "head" and value == "file":
            value = "new"
        elif name.endswith("_kwargs"):
            value = _without_files(value)
        kept[name] = value
    return kept


def _without_files(node: Any) -> Any:
    """Settings of a network, at every depth without those that read files."""
    if isinstance(node, list | tuple):
        return [_without_files(item) for item in node]
    if isinstance(node, dict):
        return {key: _without_files(value) for key, value in node.items() if key not in LOADS}
    return node


def refuse_files(arguments: dict[str, Any]) -> None:
    """A checkpoint holds its inner models: it names no other file, folder or address for them."""
    for name, value in arguments.items():
        remote = name == "encoder" and isinstance(value, str) and (":" in value or "/" in value)
        if remote or (name in FROM_RUNS and value is not None):
            raise CheckpointError(
                f"{name} {value!r} is refused: a checkpoint holds its own weights"
            )


def _not_compiled(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a method that is made for use: compiling pays in long trainings only."""
    return {
        name: {k: v for k, v in value.items() if k != "compile"}
        if name.endswith("_kwargs") and isinstance(value, dict)
        else value
        for name, value in arguments.items()
    }


def restore(
    method: L.LightningModule, content: dict[str, Any], path: str | Path
) -> L.LightningModule:
    """A method with the weights of a checkpoint's content, in eval mode.

    Raises:
        CheckpointError: they do not fit.
    """
    try:
        method.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        why, kind = messages.mismatch(error), type(method).__name__
        raise CheckpointError(f"{path} does not fit {kind}: {why}") from None
    return method.eval()


def check_finite(method: L.LightningModule, path: str | Path) -> None:
    """Refuse weights of a training that has diverged.

    Raises:
        CheckpointError: a parameter that is not finite, by name.
    """
    named = dict(method.named_parameters())
    wrong = [name for name, value in named.items() if not value.isfinite().all()]
    if wrong:
        raise CheckpointError(
            f"{path} holds weights that are not finite, "
            f"{len(wrong)} of {len(named)} tensors, first {wrong[0]}: its training has diverged"
        )


def spec(method: L.LightningModule) -> dict[str, Any]:
    """Description from which `build` makes an equal, untrained method: plain data."""
    arguments = {k: v for k, v in method.hparams.items() if not k.startswith("_")}
    kind = type(method)
    return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": arguments}


def build(spec: dict[str, Any], trusted: Collection[str] | None = None) -> L.LightningModule:
    """The method that a `spec` from a checkpoint describes, with fresh weights and not compiled.

    Args:
        spec: see `spec`.
        trusted: classes that it may name besides genlab's; None for those of the file around it.

    Raises:
        CheckpointError: a class that is not trusted, or arguments it does not take.
    """
    try:
        with recipes.inside(recipes.trusted_now() if trusted is None else trusted):
            kind = recipes.load_class(str(spec["class_path"]), L.LightningModule)
            recipes.check(spec, recipes.trusted_now())
            refuse_files(spec["init_args"])
            return kind(**_not_compiled(without_download(spec["init_args"])))
    except RecipeError as error:
        raise CheckpointError(str(error)) from None
    except CheckpointError:
        raise
    except RecursionError:
        raise CheckpointError(f"{spec['class_path']}: arguments are nested too deep") from None
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{spec['class_path']}: {error}") from None
