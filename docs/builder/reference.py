"""Reference pages: recipe keys by group, classes that recipes name, and metrics."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from docs.builder import commands, methods
from docs.builder.copies import ROOT
from docs.builder.markdown import code, linked, section, table
from docs.builder.tables import arguments, logged
from genlab.describing import classes, docstrings, source
from genlab.describing.source import Definition

GROUPS = {  # classes whose arguments are the keys of a group
    "checkpoint": "genlab.training.engine.checkpointing.Checkpoints",
    "track": "genlab.training.tracking.settings.Tracking",
    "trainer": "lightning.pytorch.trainer.trainer.Trainer",
}
KEYS = """# Recipe keys

`genlab explain KEY` prints the meaning of one. A key in short form, such as `model.lr`, reaches
`model.init_args.optimizer.lr` by itself. `genlab fit RECIPE --print_config` prints all of a recipe.

`config`
:   a recipe that this one extends: a file relative to it, or a shipped name.

`seed_everything`
:   the seed of everything that is random in training: weights, order, views, noise.

`model`
:   `class_path` names the method, `init_args` its arguments: see [Methods](../methods/index.md).

`data`
:   `class_path` names the data set, `init_args` its arguments: see [Data](data.md).

"""
AUGMENTS = (
    "genlab.augment.standard.Augment",
    "genlab.augment.rand_augment.RandAugment",
    "genlab.augment.ct_augment.CTAugment",
    "genlab.augment.mixing.Mixing",
)
ENCODERS = (
    "genlab.networks.encoders.factory.encoder",
    "genlab.networks.autoencoders.image_coders.image_encoder",
    "genlab.networks.autoencoders.image_coders.image_decoder",
    "genlab.networks.mlps.mlp",
    "genlab.checkpoints.foreign.pretrained.load_backbone",
)


def pages() -> dict[str, str]:
    """Every page of the reference but that of the API."""
    return {
        "reference/cli.md": commands.page(),
        "reference/recipe.md": keys(),
        "reference/data.md": listed("Data", "data", "data sets"),
        "reference/callbacks.md": listed("Callbacks", "callbacks", "callbacks"),
        "reference/optimizer.md": optimizer(),
        "reference/views.md": views(),
        "reference/augmentation.md": of_classes("Augmentation", AUGMENTS),
        "reference/encoders.md": of_classes("Encoders and weights", ENCODERS),
        "reference/metrics.md": metrics(),
    }


def located(path: str) -> Definition:
    """The definition of a dotted name, which must be there."""
    found = source.locate(path)
    assert found is not None, path
    return found


def keys() -> str:
    """Keys of a recipe by group."""
    return KEYS + "".join(section(name, arguments(located(path))) for name, path in GROUPS.items())


def public(folder: str) -> list[Definition]:
    """Public classes that recipes name, of the modules of a folder."""
    found = []
    for file in sorted((ROOT / "genlab" / folder).glob("[a-z]*.py")):
        module = f"genlab.{folder}.{file.stem}"
        found += [o for o in source.definitions(module, file) if _is_class(o)]
    return sorted(found, key=lambda one: one.name)


def _is_class(one: Definition) -> bool:
    """True for a public class with arguments that a recipe can give."""
    return isinstance(one.node, ast.ClassDef) and not one.name.startswith("_")


def listed(title: str, folder: str, what: str) -> str:
    """A page of the classes of a folder that recipes may name."""
    from genlab.recipes import class_names

    known = class_names.classes(folder)
    chosen = [one for one in public(folder) if one.name in known]
    start = f"# {title}\n\nThe {what} that a recipe names by their class.\n\n"
    return start + "".join(of_class(one) for one in chosen)


def of_class(one: Definition) -> str:
    """A class or function: what it is, its arguments, the metrics it logs."""
    found = classes.describe(one)
    text = f"{found.first}.\n\n{linked(found.prose)}\n\n{arguments(one)}\n{logged([one])}"
    return section(one.name, text)


def of_classes(title: str, paths: Iterable[str]) -> str:
    """A page of classes and functions by dotted names."""
    return f"# {title}\n\n" + "".join(of_class(located(path)) for path in paths)


def optimizer() -> str:
    """Keys of ``model.optimizer``."""
    build = located("genlab.optim.building.build")
    described = classes.describe(build)
    settings = described.argument("settings")
    assert settings is not None
    start = (
        "# Optimizer\n\nThe keys of `model.optimizer`, a mapping in every method that trains.\n\n"
    )
    _, _, items = settings.text.partition("\n")
    lars = of_class(located("genlab.optim.lars.LARS"))
    return f"{start}{linked(items)}\n\n{linked(described.prose)}\n\n{lars}"


def views() -> str:
    """Presets of views, and the settings of a view."""
    from genlab.augment.views import PRESETS

    rows = [
        (code(name), str(len(each)), "<br>".join(dict.fromkeys(map(_settings, each))))
        for name, each in PRESETS.items()
    ]
    start = (
        "# Views\n\n`data.views` is a preset, or a mapping of `preset` and the settings below.\n\n"
    )
    return start + table(("preset", "views", "settings"), rows) + "\n" + _view()


def _settings(view: dict[str, object]) -> str:
    return code(", ".join(f"{name}: {_value(value)}" for name, value in view.items()))


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _view() -> str:
    return of_classes("", ["genlab.augment.view.View"]).removeprefix("# \n\n")


def metrics() -> str:
    """Every log key with its definition, by the part of genlab that logs it."""
    start = (
        "# Metrics\n\nA metric is logged as `train/`, `val/` or `test/` and its name. One name "
        "has one definition in all methods; `genlab explain KEY` prints it.\n\n"
    )
    parts = []
    for module, file in source.modules().items():
        for one in source.definitions(module, file):
            if "Logs" in docstrings.parse(one.docstring).sections:
                parts.append(section(_home(one), logged([one])))
    return start + "".join(parts)


def _home(one: Definition) -> str:
    name = next((page for page, method in methods.methods().items() if method == one), "")
    return f"[{one.name}](../methods/{name}.md)" if name else one.name
