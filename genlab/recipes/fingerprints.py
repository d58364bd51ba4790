"""Fingerprints of runs: two runs of one fingerprint and seed are the same run. No torch.

A fingerprint is a hash of settings, code and the versions of torch and timm.

Settings are those of the resolved recipe. Not in it are comments, heads, ``track``, the seed, what
is only shown (see `plain_settings`), and arguments that are equal to their defaults. Files count by
content, folders of images by names and numbers of files, a recipe that ``pretrained`` names by its
own fingerprint; downloaded data sets and images inside files are not looked at.

Code are the definitions that the recipe's classes use (see `imports`): its method, data, callbacks
that do more than draw, backbone, tokenizer, and `TRAINING`, which every run has. It leaves out
docstrings, annotations and messages. Weights from elsewhere are read by code that counts where
``pretrained`` is set. The trainer's other code, Lightning and other libraries do not count.

A run's is that of its own recipe.yaml, which spells out defaults and what the data fill in, see
`of_run`: training a recipe, resuming that run and training its recipe.yaml give the same one. The
recipe as it was written has another where the data fill something in.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from genlab.recipes import class_names, defaults, plugins
from genlab.recipes.contents import Contents
from genlab.recipes.files import shipped
from genlab.recipes.imports import Closure
from genlab.recipes.modules import ROOT, text_of
from genlab.recipes.plain_settings import DRAWING, plain
from genlab.recipes.resolution import Recipe, lineage, merge, resolve

TRAINING = (  # what the trainer has in every run
    "genlab.metrics.step_metrics.StepMetrics",
    "genlab.optim.step_plan.StepPlan",
    "genlab.training.engine.early_stops.EarlyStops",
    "genlab.training.engine.epoch_metrics.EpochMetrics",
    "genlab.training.engine.finite.FiniteGuard",
    "genlab.training.engine.reseed.Reseed",
)
SYNCHRONISED = "genlab.training.engine.sync_batch_norm.SyncBatchNorm"
TOKENIZER = "genlab.methods.vqvae.VQVAE"  # of every prior
SPACES = ("genlab.methods.vae.VAE", TOKENIZER)  # whose latents a generator may have
NAMING, TABLE = "genlab.networks.encoders.naming", "FAMILIES"
WEIGHTS = ("genlab.checkpoints.load_backbone", "genlab.checkpoints.load_head")


def fingerprint(recipe: Recipe) -> str:
    """The fingerprint of a run of a recipe, as hexadecimal digits.

    Args:
        recipe: as `resolve` gives it, before data has filled in numbers of classes and the like.
    """
    return of_parts(recipe, code(recipe).digests)


def of_run(recipe: Recipe, parents: Mapping[str, Any]) -> Recipe:
    """The recipe of a run in the form that is hashed, with parents by their content.

    Args:
        recipe: as a run's recipe.yaml has it.
        parents: facts of `checkpoints.parents` by argument of the method, as run.json keeps them:
            a parent that has moved, or is gone, changes nothing.
    """
    hashed = {
        name: f"sha256 {facts['sha256']}"
        for name, facts in parents.items()
        if isinstance(facts, dict) and "sha256" in facts
    }
    return replace(recipe, config=merge(recipe.config, {"model": {"init_args": hashed}}))


def of_parts(recipe: Recipe, code: dict[str, str], contents: Contents | None = None) -> str:
    """The fingerprint of a recipe whose code has been followed.

    Args:
        recipe: as `resolve` gives it.
        code: digests of the modules by their names.
        contents: gets the files that were read.
    """
    found = settings(recipe, contents or Contents())
    parts = {"settings": found, "code": code | families(recipe), "versions": versions()}
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def versions() -> dict[str, str]:
    """Versions of the libraries that decide what a training computes, without importing them."""
    return {name: _version(name) for name in ("torch", "timm")}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def settings(recipe: Recipe, contents: Contents) -> Any:
    """Settings of a recipe in one form; a recipe that it starts from by its fingerprint."""
    found = plain(recipe.config, contents)
    model = found.get("model", {}).get("init_args", {})
    for name in ("pretrained", "tokenizer", "space"):
        source = recipe.arguments("model").get(name)
        if source != recipe.name and source in shipped() and not os.path.exists(source):
            parent, file = resolve([source]), shipped()[source]
            followed = code(parent)
            contents.files |= {*followed.files, *(one for one, _ in lineage(file))}
            model[name] = f"recipe {of_parts(parent, followed.digests, contents)}"
    return found


def code(recipe: Recipe) -> Closure:
    """The definitions that a recipe's training uses."""
    return Closure(classes(recipe), without=without(recipe))


def without(recipe: Recipe) -> set[str]:
    """Definitions of genlab that a recipe's training does not reach."""
    path, found = _method(recipe), set[str]()
    if not path.startswith("genlab."):
        return found
    deep = _holds(recipe.arguments("model"), "pretrained")
    if not (deep or argument(recipe, "pretrained") or argument(recipe, "head") == "file"):
        found |= set(WEIGHTS)
    if families(recipe):
        found.add(f"{NAMING}.{TABLE}")
    return found


def _holds(node: Any, name: str) -> bool:
    """True if a key of that name has a value that is not false, at any depth."""
    if isinstance(node, list):
        return any(_holds(one, name) for one in node)
    if not isinstance(node, dict):
        return False
    return bool(node.get(name)) or any(_holds(one, name) for one in node.values())


def classes(recipe: Recipe) -> set[str]:
    """Dotted names of the definitions from which a recipe's training starts."""
    found = {name for name in class_names.named(recipe.config) if "." in name}
    found -= {class_names.classes("callbacks").get(name, "") for name in DRAWING}
    encoder = str(argument(recipe, "encoder"))
    own = class_names.classes("networks").get(encoder, encoder)
    found |= {own} if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", own) else set()
    found |= {f"{NAMING}.{name}" for row in families(recipe).values() for name in _names(row)}
    found |= {TOKENIZER} if argument(recipe, "tokenizer") else set()
    found |= set(SPACES) if argument(recipe, "space") else set()
    trainer = recipe.config.get("trainer")
    is_synchronised = isinstance(trainer, dict) and trainer.get("sync_batchnorm")
    found |= {SYNCHRONISED} if is_synchronised else set()
    return found | set(TRAINING) | _registered(encoder)


def _registered(encoder: str) -> set[str]:
    """Modules of plugins whose text has the name of an encoder: they may register it with timm."""
    name = encoder.partition(".")[0]
    if name in ("", "None"):
        return set()
    return {
        f"{module}.*"
        for plugin in plugins.declared().values()
        for module, file in plugins.files(plugin, "networks").items()
        if name in text_of(file)
    }


def _method(recipe: Recipe) -> str:
    return str((recipe.config.get("model") or {}).get("class_path"))


def argument(recipe: Recipe, name: str) -> Any:
    """An argument of the method, its default where the recipe is silent."""
    default = defaults.of("methods", _method(recipe)).get(name, (None, False))[0]
    return recipe.arguments("model").get(name, None if default is Ellipsis else default)


def families(recipe: Recipe) -> dict[str, str]:
    """The rows of genlab's own backbones that a method's encoder means; empty if it may be any."""
    encoder = argument(recipe, "encoder")
    if not isinstance(encoder, str) or not _method(recipe).startswith("genlab."):
        return {}
    file = ROOT.joinpath(*NAMING.split(".")[1:]).with_suffix(".py")
    rows = _rows(file.read_bytes()) if file.is_file() else ()
    chosen = [row for pattern, row in rows if re.fullmatch(pattern, encoder)]
    return {f"{NAMING}.{TABLE}": "\n".join(chosen)} if rows else {}


@cache
def _rows(content: bytes) -> tuple[tuple[str, str], ...]:
    """Pattern and text of each row of the table of backbones."""
    for node in class_names.parsed(content).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == TABLE:
            rows = node.value.elts if isinstance(node.value, ast.Tuple) else []
            tuples = [row for row in rows if isinstance(row, ast.Tuple)]
            return tuple((ast.literal_eval(row.elts[1]), ast.unparse(row)) for row in tuples)
    return ()


def _names(row: str) -> set[str]:
    """Names of classes in rows of the table."""
    trees = [ast.parse(line) for line in row.splitlines()]
    return {one.id for tree in trees for one in ast.walk(tree) if isinstance(one, ast.Name)}
