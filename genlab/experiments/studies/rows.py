"""Rows of a table: every self-supervised method that there is, and what it is compared with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any

from genlab import recipes
from genlab.errors import InputError, first_line
from genlab.experiments import axes
from genlab.experiments.studies.table import Search, Table
from genlab.recipes.resolution import lineage

BASE, TASK = "self_supervised.yaml", "pretext.yaml"  # what the recipes of methods extend
RAW, UNTRAINED = "raw pixels", "untrained"
ALWAYS = [  # of every training: its length is in steps, and nothing is measured meanwhile
    "trainer.max_epochs=-1", "trainer.limit_val_batches=0", "trainer.callbacks=[]",
    "checkpoint.monitor=null", "track.wandb=off", "track.test_after_fit=false",
]  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A method in a table.

    Args:
        key: name in the table, ``simclr``; ``lightly/simclr`` of another library.
        kind: ``method``, ``pretext``, ``peer``, ``other``, ``untrained`` or ``raw``.
        recipe: name of the recipe.
        words: ``key=value`` settings over it.
        config: the recipe's settings with ``words``.
        lacking: reason why there are no runs of it; empty if there are.
        absent: reason why it cannot be run here, though its published results can be shown.
        trials: settings of each trial, ``key=value``.
    """

    key: str
    kind: str
    recipe: str = ""
    words: list[str] = field(default_factory=list)
    config: Mapping[str, Any] = field(default_factory=dict)
    lacking: str = ""
    absent: str = ""
    trials: list[list[str]] = field(default_factory=list)

    @property
    def trained(self) -> bool:
        """True if there is anything to train."""
        return self.kind not in ("untrained", "raw")

    @property
    def convolutional(self) -> bool:
        """True if the encoder is not a ViT."""
        return not _is_vit(self.config)

    def value(self, key: str) -> Any:
        """The recipe's value of ``model.optimizer.lr``; None where there is none."""
        group, *rest = key.split(".")
        node: Any = dict(self.config.get(group) or {})
        node = node.get("init_args", node)
        for part in rest:
            node = node.get(part) if isinstance(node, Mapping) else None
        return node


def rows(table: Table) -> list[Row]:
    """All rows of a table: the untrained, other methods, the self-supervised ones, the peers."""
    own = [_row(table, method, kind) for method, kind in self_supervised().items()]
    own = [row for row in own if table.methods is None or row.key in table.methods]
    own = [replace(row, lacking=table.left_out.get(row.key, row.lacking)) for row in own]
    others = [_row(table, method, "other", key) for key, method in table.others.items()]
    found = [*_untrained(table, [row for row in own if not row.lacking]), *others, *own]
    for library, module in table.peers.items():
        found += _peers(library, module, own)
    search = table.search
    return [replace(row, trials=_trials(search, row) if search else []) for row in found]


def self_supervised() -> dict[str, str]:
    """Every method that learns without labels, ``method`` or ``pretext``, by its recipes' base."""
    found: dict[str, str] = {}
    for name, file in recipes.shipped().items():
        bases = {path.name for path, _ in lineage(file)}
        if BASE in bases:
            found.setdefault(name.partition("/")[0], "pretext" if TASK in bases else "method")
    return found


def _row(table: Table, method: str, kind: str, key: str = "") -> Row:
    """A method's row from the first recipe that it has for the table's data."""
    names = [f"{method}/{data}" for data in table.recipes]
    name = next((one for one in names if one in recipes.shipped()), None)
    if name is None:
        return Row(key or method, kind, lacking=f"has no recipe {' or '.join(names)}")
    words = [*table.settings, *ALWAYS]
    if not _is_vit(recipes.resolve([name]).config):
        words = [*table.encoder, *words]
    words += table.row_settings.get(key or method, [])
    return Row(key or method, kind, name, words, recipes.resolve([name], words).config)


def _is_vit(config: Mapping[str, Any]) -> bool:
    encoder = (config["model"].get("init_args") or {}).get("encoder")
    return "vit" in str(encoder).lower()


def _untrained(table: Table, found: list[Row]) -> Iterator[Row]:
    """Raw pixels, and every different encoder as it is drawn."""
    if not table.untrained or not found:
        return
    yield replace(found[0], key=RAW, kind="raw")
    seen: set[str] = set()
    for row in sorted(found, key=lambda row: not row.convolutional):
        encoder = [row.value(f"model.{key}") for key in ("encoder", "encoder_kwargs")]
        if repr(encoder) not in seen:
            seen.add(repr(encoder))
            name = str(encoder[0]) if len(seen) == 1 else f"encoder of {row.key}"
            yield replace(row, key=f"{UNTRAINED} {name}", kind="untrained")


def _peers(library: str, module: str, found: list[Row]) -> Iterator[Row]:
    """The same rows trained by another library's modules, with the same arguments.

    Where the library is not installed, nobody knows which of them it has.
    """
    from lightning import LightningModule

    gone = find_spec(library) is None
    reason = f"{library} is not installed: pip install {library}" if gone else ""
    some = False
    for row in found:
        if row.lacking:
            continue
        path = f"{module}.{recipes.short(str(row.config['model']['class_path']))}"
        try:
            if not gone:
                recipes.load_class(path, LightningModule)
        except InputError as error:
            reason = reason or first_line(error)
            continue
        some = not gone
        model = {"class_path": path, "init_args": row.config["model"]["init_args"]}
        words = [*row.words, f"model={json.dumps(model)}"]
        config = {**row.config, "model": model}
        peer = replace(row, key=f"{library}/{row.key}", kind="peer", words=words, config=config)
        yield replace(peer, absent=reason if gone else "")
    if not some:
        yield Row(library, "peer", lacking=reason)


def _trials(search: Search, row: Row) -> list[list[str]]:
    """The grid of a row's settings, as ``key=value``."""
    if not row.trained or row.lacking:
        return []
    words = _scaled(row, search.scale)
    own = search.own.get(row.key.rpartition("/")[2])
    words += [own] if own else _scaled(row, search.other)
    return axes.grid([axes.axis(word) for word in words])


def _scaled(row: Row, factors: Mapping[str, list[float]]) -> list[str]:
    """``model.optimizer.lr=0.0006,0.002,0.006``: multiples of what the recipe says."""
    found = [(key, row.value(key), by) for key, by in factors.items()]
    return [
        f"{key}={','.join(f'{float(value) * one:.4g}' for one in by)}"
        for key, value, by in found
        if value  # none and 0 have no multiples
    ]
