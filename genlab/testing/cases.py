"""Cases for laws: a recipe's method at tiny size, and batches of its data."""

from __future__ import annotations

import copy
import inspect
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import lightning as L
import torch

from genlab import checkpoints, recipes
from genlab.internals import lightning_parts
from genlab.planning import inner
from genlab.recipes import Recipe, load_class
from genlab.testing.batches import Batch, prepared
from genlab.testing.exceptions import EXCEPTIONS
from genlab.testing.running import Recorder, quiet_trainer, train
from genlab.testing.tiny import WORLDS, own_encoder, plain, tiny

STEPS = 6  # batches that a case holds
HEAVY = 2_000_000  # parameters; a larger encoder of the user's own gives way to a small one


@dataclass
class Case:
    """A fresh method, its data and a few batches; laws work on copies.

    Args:
        name: name of the recipe.
        method: untrained, with the recipe's optimiser.
        plain: the same weights, to be trained by plain gradient steps.
        data: its data module, set up.
        batches: as the method gets them, of the global batch.
        note: replacement of a large encoder, if any.
        worlds: numbers of processes that are compared with one.
        made: results of one law that another may use.
    """

    name: str
    method: L.LightningModule
    plain: L.LightningModule
    data: L.LightningDataModule
    batches: list[Batch]
    note: str = ""
    worlds: tuple[int, ...] = WORLDS
    made: dict[str, Any] = field(default_factory=dict)

    def fresh(self) -> L.LightningModule:
        """The method, untrained, with the recipe's optimiser."""
        return copy.deepcopy(self.method)

    def fresh_plain(self) -> L.LightningModule:
        """The method, untrained, to be trained by plain gradient steps."""
        return copy.deepcopy(self.plain)

    def fresh_data(self) -> L.LightningDataModule:
        """The data module, of no trainer yet."""
        return copy.deepcopy(self.data)

    @cached_property
    def double(self) -> bool:
        """True if the method can be trained in double precision; some say ``float()``."""
        options: dict[str, Any] = {"precision": "64-true"}
        try:
            train(self.fresh_plain(), self.fresh_data(), self.batches[:1], Recorder(), **options)
        except RuntimeError as error:
            if "type" not in str(error):
                raise
            return False
        return True

    @property
    def manual(self) -> bool:
        """True if the method steps its optimisers itself."""
        return not self.method.automatic_optimization

    @property
    def portable(self) -> Any:
        """Makes the untrained method to be trained by plain steps; goes to other processes."""
        method = self.plain
        if any(hasattr(module, "parametrizations") for module in method.modules()):
            arguments = checkpoints.spec(method)["init_args"]  # such modules cannot be pickled
            return partial(_again, type(method), arguments, method.state_dict())
        return partial(copy.deepcopy, method)

    @cached_property
    def exceptions(self) -> dict[str, str]:
        """Law -> why it does not apply: genlab's table, or the method's own ``law_exceptions``."""
        kind = type(self.method)
        own: dict[str, str] = getattr(self.method, "law_exceptions", {})
        ours = (EXCEPTIONS[k.__name__] for k in kind.__mro__ if k.__name__ in EXCEPTIONS)
        return dict(own or next(ours, {}))


def case(
    words: list[str], overrides: list[str] | None = None, worlds: tuple[int, ...] = WORLDS
) -> Case:
    """The case of a recipe.

    Args:
        words: the recipe's name or file, and files over it.
        overrides: ``key=value``, laid over the recipe before it is made tiny.
        worlds: numbers of processes that are compared with one.

    Raises:
        InputError: a recipe that does not resolve or build.
    """
    recipe = recipes.resolve(words, overrides or [])
    recipes.check_keys(recipe)
    small, note = tiny(recipe, worlds=worlds), ""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        inner.untrained(small, Path(folder), lambda other: _built(tiny(other), folder)[0])
        method, data = _built(small, folder)
        if (size := _encoder_size(small, method)) > HEAVY:
            given, small = recipe.arguments("model")["encoder"], tiny(recipe, False, worlds)
            taken = small.arguments("model")["encoder"]
            note = f"encoder {taken} in place of {given}, which has {size / 1e6:.1f} M parameters"
            method, data = _built(small, folder)
        other, _ = _built(plain(small), folder)
        other.load_state_dict(method.state_dict())
        trainer: Any = quiet_trainer(Path(folder))
        data.trainer = trainer
        data.prepare_data()
        data.setup("fit")
        batches = prepared(data, STEPS)
    data.trainer = None
    return Case(recipe.name, method, other, data, batches, note, worlds)


def _encoder_size(small: Recipe, method: L.LightningModule) -> int:
    """Number of parameters of an encoder of the user's own, 0 for others."""
    name, encoder = small.arguments("model").get("encoder"), getattr(method, "encoder", None)
    if not own_encoder(str(name or "")) or not isinstance(encoder, torch.nn.Module):
        return 0
    return sum(p.numel() for p in encoder.parameters())


def _again(
    kind: type[L.LightningModule], arguments: dict[str, Any], weights: dict[str, Any]
) -> L.LightningModule:
    method = kind(**arguments)
    method.load_state_dict(weights)
    return method


def _built(recipe: Recipe, folder: str) -> tuple[L.LightningModule, L.LightningDataModule]:
    try:
        from genlab.training.building import build
    except ModuleNotFoundError as error:
        if error.name != "jsonargparse":
            raise
        return _made(recipe)
    torch.manual_seed(0)
    lab = build(copy.deepcopy(recipe), Path(folder))
    return lab.model.train(), lab.data


def _made(recipe: Recipe) -> tuple[L.LightningModule, L.LightningDataModule]:
    """Method and data where the library is missing that checks their arguments."""
    torch.manual_seed(0)
    data = _object(recipe, "data", {})
    names = ("channels", "num_classes", "image_size")
    shape = {name: value for name in names if (value := getattr(data, name, None)) is not None}
    torch.manual_seed(0)
    return _object(recipe, "model", shape).train(), data


def _object(recipe: Recipe, group: str, shape: dict[str, Any]) -> Any:
    """An object of the recipe; of ``shape`` it takes what the recipe leaves out."""
    path = recipe.config[group]["class_path"]
    kind: Any = load_class(path, object)
    takes = inspect.signature(kind).parameters
    given = {n: p.default for n, p in takes.items() if p.default is not p.empty}
    arguments = {n: list(v) if isinstance(v, tuple) else v for n, v in given.items()}  # as parsed
    arguments |= {name: value for name, value in shape.items() if name in takes}
    arguments |= recipe.arguments(group)
    with lightning_parts.constructing({"_class_path": path} | arguments):
        return kind(**arguments)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
