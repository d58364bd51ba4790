"""Candidates for the shell's completion: commands, options, recipes, runs, keys and their values.

Commands are read as text: some of their modules load torch.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from genlab import recipes, runs
from genlab.cli import COMMANDS, FROM_FILES
from genlab.describing import classes, foreign, keys, metrics, nested, source, values
from genlab.describing.classes import Argument
from genlab.errors import InputError
from genlab.planning import gpus
from genlab.recipes import class_names

ACTIONS = ("rm", "archive", "du", "diff")  # of `runs`
OF_RECIPES = (
    "fit", "show", "cp", "sweep", "crossval", "bench", "laws", "submit", "explain", "plan",
)  # fmt: skip
OF_RUNS = (
    "validate", "test", "predict", "sample", "reconstruct", "interpolate", "evaluate", "embed",
    "export", "runs", "compare", "report", "sync", "replay", "verify", "explain", "show",
)  # fmt: skip
WITHOUT_KEYS = (
    "show", "cp", "runs", "compare", "report", "sync", "replay", "verify", "laws", "export",
)  # fmt: skip
OPTION = re.compile(r"--[a-z][\w-]*")
CODE = re.compile(r"``([\w+-][\w.+-]*(?<!_))``")
LITERAL = re.compile(r"Literal\[([^\]]*)\]")


def candidates(words: list[str]) -> list[str]:
    """Completions of the last argument of a command line.

    Args:
        words: arguments after ``genlab`` as far as they are typed; the last is empty where a new
            one begins.
    """
    *before, typed = words or [""]
    if not before:
        return _that_begin(typed, COMMANDS)
    command = before[0]
    if command not in COMMANDS:
        return []
    if typed.startswith("--") and keys.is_key(typed[2:]) and _has_keys(command):
        found = _keys(typed[2:], _named(before[1:]), "=")
        return _that_begin(typed, (f"--{one}" for one in found))
    if typed.startswith("-"):
        return _that_begin(typed, options(command))
    return _that_begin(typed, [one for part in _parts(command, before, typed) for one in part()])


def _that_begin(typed: str, names: Iterable[str]) -> list[str]:
    """Names that begin as typed; one with a control character would be several lines."""
    return [one for one in dict.fromkeys(names) if one.startswith(typed) and one.isprintable()]


def _has_keys(command: str) -> bool:
    return command in OF_RECIPES + OF_RUNS and command not in WITHOUT_KEYS


def _parts(command: str, before: list[str], typed: str) -> list[Callable[[], Iterable[str]]]:
    """Sources of candidates for an argument that is not an option."""
    if before[-1] == "--resume":
        return [_runs]
    if (command, before[-1]) in ((one, "--gpu") for one in ("plan", "submit")):
        return [gpus.known]
    if before[-1].startswith("--") and (choices := _choices(command, before[-1])):
        return [lambda: choices]
    if command == "completion":
        return [lambda: ("bash", "zsh", "fish")]
    parts: list[Callable[[], Iterable[str]]] = []
    if command == "runs" and len(before) == 1:
        parts.append(lambda: ACTIONS)
    if command in OF_RECIPES and "=" not in typed:
        parts.append(recipes.shipped)
    if command in OF_RUNS and "=" not in typed:
        parts.append(_runs)
    if _has_keys(command):
        parts.append(lambda: _keys(typed, _named(before[1:]), "" if command == "explain" else "="))
    if command == "explain":
        parts += [source.names, lambda: (one for one in metrics.names() if "<" not in one)]
    return parts


def _runs() -> list[str]:
    """Run directories, and the recipes that have one."""
    found = runs.every()
    return [*(str(run) for run in found), *(str(run.parent.relative_to("runs")) for run in found)]


def _named(before: list[str]) -> dict[str, str]:
    """Classes of the recipe or run that a command line names last, with what it changes."""
    if "--then" in before:
        return _named(before[before.index("--then") + 1 :])
    word = next((one for one in before if "=" not in one and not one.startswith("-")), "")
    changes = [one for one in before if re.match(r"(model|data)(\.encoder)?=\w", one)]
    with suppress(InputError, OSError):
        return values.named(recipes.resolve([word], changes))
    return {}


def _keys(typed: str, named: dict[str, str], end: str) -> list[str]:
    """Keys that a word may become; behind ``=`` the values of one."""
    key, equals, _ = typed.partition("=")
    if equals:
        return [f"{key}={value}" for value in _values(key, named)]
    group, dot, _ = key.partition(".")
    if not dot:
        return [*(f"{one}." for one in keys.TOP if one != "seed_everything"),
                *(f"{one}{end}" for one in ("model", "data", "seed_everything"))]  # fmt: skip
    if group not in keys.TOP:
        return []
    above, _, _ = key.rpartition(".")
    if above == "trainer.callbacks" and not end:
        return [f"{above}.{name}" for name in class_names.classes("callbacks")]
    if "." in above:
        argument = above.rpartition(".")[2]
        inside = nested.settings(argument, nested.chosen(argument, named))
        return [f"{above}.{one.name}{end}" for one in inside]
    own = keys.names(group, named)
    own += [one for one in keys.OPTIMIZER if group == "model" and one not in own]
    return [*(f"{group}.{one}{end}" for one in own),
            *(f"{group}.{one}." for one in own if one in nested.PLACES)]  # fmt: skip


def _values(key: str, named: dict[str, str]) -> list[str]:
    """Values that a key may have, where they are names."""
    if key in class_names.PACKAGES:
        return sorted(class_names.classes(class_names.PACKAGES[key]))
    with suppress(InputError):
        found = [one.argument for one in keys.meanings(key, named) if one.argument is not None]
        kinds = [one.annotation for one in found]
        texts = [text for kind in kinds for hit in LITERAL.findall(kind) for text in hit.split(",")]
        either = ["true", "false"] if any(re.search(r"\bbool\b", kind) for kind in kinds) else []
        listed = [one for argument in found for one in _listed(argument)]
        return [text.strip(" '\"") for text in texts] + either + listed
    return []


def _listed(argument: Argument) -> list[str]:
    """Values that the text of an argument lists as code: ``bernoulli`` or ``gaussian``."""
    if not re.search(r"\bstr\b", argument.annotation or "str"):
        return []
    presets = [one for one in nested.settings(argument.name) if one.name == "preset"]
    others = [*classes.describe(argument.owner).arguments, *nested.of_place(argument.owner)]
    no_values = {"None", "True", "False", *(one.name for one in (*others, *presets))}
    found = [one for text in (argument, *presets) for one in CODE.findall(text.text)]
    return [one for one in found if one not in no_values]


def _choices(command: str, option: str) -> list[str]:
    """Values of an option, where it has a choice of them; of ``--family`` folders of recipes."""
    if (command, option) == ("ls", "--family"):
        return sorted({name.partition("/")[0] for name in recipes.shipped()})
    function = definition(command)
    for call in (node for node in ast.walk(function.node) if isinstance(node, ast.Call)):
        named = [ast.literal_eval(one) for one in call.args if isinstance(one, ast.Constant)]
        given = {one.arg: one.value for one in call.keywords}
        if option in named and "choices" in given:
            return _values_of(given["choices"], function)
    return []


def _values_of(node: ast.expr, function: source.Definition) -> list[str]:
    """Texts of a list that is written out, or of the constant that names it."""
    if isinstance(node, ast.Name):
        found = foreign.constant(node.id, function.module, source.text(function.file))
        node = found[0] if found else node
    with suppress(ValueError):
        return [str(one) for one in ast.literal_eval(node)]
    return []


def options(command: str) -> list[str]:
    """Options of a command, read from its ``<command>_options``."""
    trust = ["--trust"] if command in FROM_FILES else []
    return ["--help", *_options(COMMANDS[command], f"{command}_options"), *trust]


def definition(command: str) -> source.Definition:
    """The function whose docstring a command's help shows."""
    module = COMMANDS[command]
    found = source.definitions(f"genlab.cli.{module}", Path(__file__).parent / f"{module}.py")
    return next(one for one in found if one.name == f"{command}_options")


def _options(module: str, function: str) -> list[str]:
    """Options that a function adds, itself or by the functions that it calls."""
    found: list[str] = []
    for name in (module, "arguments"):
        for one in source.definitions(f"genlab.cli.{name}", Path(__file__).parent / f"{name}.py"):
            for node in ast.walk(one.node) if one.name == function else ():
                text = node.value if isinstance(node, ast.Constant) else ""
                found += [str(text)] if OPTION.fullmatch(str(text)) else []
                called = node.id if isinstance(node, ast.Name) else ""
                found += _options(module, called) if called.endswith("_options") else []
    return found
