"""Reference pages: recipe keys by group, classes that recipes name, and metrics."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from docs.builder import commands
from docs.builder.copies import ROOT
from docs.builder.markdown import code, linked, section, table
from docs.builder.tables import arguments, logged, settings
from genlab.describing import classes, nested, source
from genlab.describing import keys as described_keys
from genlab.describing import metrics as described_metrics
from genlab.describing.metrics import Metric
from genlab.describing.source import Definition

KEYS = """# Recipe keys

`genlab explain KEY` prints the meaning of one. A key in short form, such as `model.lr`, reaches
`model.init_args.optimizer.lr` by itself. `genlab fit RECIPE --print_config` prints all of a recipe.

`config` is a recipe that this one extends: a file relative to it, or a shipped name. Classes of
`model` are the [methods](../methods/index.md), those of `data` are [data sets](data.md).

"""
TITLES = {
    "train": "During training",
    "val": "On validation images",
    "test": "On test images",
    "judge": "Of samples",
    "best": "At the selected checkpoint",
    "run": "Of the run",
}
AUGMENTS = (
    "genlab.augment.standard.Augment",
    "genlab.augment.rand_augment.RandAugment",
    "genlab.augment.ct_augment.CTAugment",
    "genlab.augment.mixing.Mixing",
)
ENCODERS = (
    "genlab.networks.encoders.factory.encoder",
    "genlab.networks.encoders.small_cnn.SmallCNN",
    "genlab.networks.encoders.plain_mlp.PlainMLP",
    "genlab.networks.encoders.lenet.LeNet",
    "genlab.networks.encoders.nin.NiN",
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
        "reference/settings.md": inner(),
        "reference/metrics.md": metrics(),
    }


def located(path: str) -> Definition:
    """The definition of a dotted name, which must be there."""
    found = source.locate(path)
    assert found is not None, path
    return found


def keys() -> str:
    """Keys of a recipe by group."""
    of_groups = {name: located(path) for name, path in described_keys.GROUPS.items()}
    return KEYS + "".join(
        section(name, f"{text}\n\n{arguments(of_groups[name]) if name in of_groups else ''}")
        for name, text in described_keys.TOP.items()
    )


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
    keys_of_log = logged(described_metrics.of(one))
    text = f"{found.first}.\n\n{linked(found.prose)}\n\n{arguments(one)}\n{keys_of_log}"
    return section(one.name, text)


def of_classes(title: str, paths: Iterable[str]) -> str:
    """A page of classes and functions by dotted names."""
    return f"# {title}\n\n" + "".join(of_class(located(path)) for path in paths)


def optimizer() -> str:
    """Keys of ``model.optimizer``."""
    build = located("genlab.optim.building.build")
    described = classes.describe(build)
    given = described.argument("settings")
    assert given is not None
    start = (
        "# Optimizer\n\nThe keys of `model.optimizer`, a mapping in every method that trains.\n\n"
    )
    _, _, items = given.text.partition("\n")
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
    """Every log key with its definition, by the images that it is of."""
    start = (
        "# Metrics\n\nA metric is logged as `train/`, `val/` or `test/` and its name. One name "
        "has one definition in all methods; `genlab explain KEY` prints it. `<name>` stands for "
        "any text. Units: `fraction` is a share in [0, 1].\n\n"
    )
    parts: dict[str, list[Metric]] = {}
    for one in described_metrics.every():
        parts.setdefault(one.key.partition("/")[0] if "/" in one.key else "run", []).append(one)
    texts = [section(TITLES.get(name, name), logged(found)) for name, found in parts.items()]
    return start + "".join(texts)


def inner() -> str:
    """Keys inside the mappings that a recipe gives to an argument."""
    start = (
        "# Settings in mappings\n\nSome arguments are mappings with keys of their own. "
        "`genlab explain model.encoder_kwargs.stem` prints one.\n\n"
    )
    own = "".join(section(name, settings(name)) for name in nested.PLACES)
    theirs = "".join(
        section(f"timm: {path.rpartition('.')[2]}", _of_timm(path)) for path in nested.TIMM
    )
    return start + own + theirs


def _of_timm(path: str) -> str:
    says = "Further keys of `encoder_kwargs` for a network of timm of this class.\n\n"
    return says + arguments(located(path))
