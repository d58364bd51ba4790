"""Recipes made wrong at random: in their text, or one setting of a fully spelt one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import yaml

from genlab import recipes

FAST = (  # recipes whose step takes milliseconds
    "vae/digits", "realnvp/two_moons", "fixmatch/digits", "simclr/digits", "classifier/digits",
    "wgan_gp/digits", "vqvae/digits", "moco/digits", "autoencoder/digits", "glow/two_moons",
)  # fmt: skip
VALUES = (
    "null", "~", "0", "-1", "1", "2", "0.5", "-0.5", "1e300", "1e40", "1e-300", ".nan", ".inf",
    "-.inf", "99999999999999999999", "1000000", "true", "false", '""', "x", "[]", "{}", "[1]",
    "[null]", "[[]]", "[[1, 2], 3]", "{a: 1}", "{1: 2}", "{x: {y: [1]}}", "{class_path: x}",
    "{class_path: VAE}", "{class_path: [a]}", "{init_args: 3}", "2024-01-01", "2024-99-99",
    "!!int abc", "!!float x", "!!bool maybe", "!!timestamp x", "!!map foo", "!!set {a}",
    "!!binary x", "!!python/object:os.system x", "!odd x", "&a [*a]", "&a {x: *a}", "*a",
    "é\U0001f642", "a/b", "os.system", "lightning.pytorch.LightningModule", "1:30", "0x10", "0o7",
    "1_000", "%s", "x" * 300, "VAE", "Digits", "Images", "BoringModel", "auto", "max", "off",
    "'1'", "2 3", "[Pictures]", "[OnlineProbe]", "[EarlyStopping]", "[LearningRateFinder]", "[3]",
    "'[1, 2]'",
)  # fmt: skip
BOMB = "\n".join(  # nine aliases of nine aliases ...
    ["a: &a [x, x, x, x, x, x, x, x, x]"]
    + [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefghi")]
)
LINES = (
    "1: 2", "null: 2", "2024-01-01: x", "? [a, b]\n: 3", "? {a: 1}\n: 3", "<<: *x", "<<: {a: 1}",
    "model: &a {x: *a}", "\tx: 1", "trainer: null", "track: null", "checkpoint: abc", "model: []",
    "data: null", "config: .", "config: /dev/null", "config: [a]", "config: " + "x" * 300, "- a",
    "---", "...", "%YAML 1.1", "trainer+: {max_steps: 2}", "model+: {lr: 1}", "=: 3", "x", ": 2",
    "seed_everything: null", "seed_everything: -1", "seed_everything: 99999999999", "a.b: 3",
    BOMB,
)  # fmt: skip
LETTERS = ":{}[]&*!%@`'\"#|>-?,~=\t\r\0\ufeff\u2028\x85é\U0001f642 0.+"


def mutant(seed: int, number: int) -> str:
    """The text of one recipe made wrong; the same for the same numbers."""
    draw = random.Random(f"{seed}/{number}")
    name = draw.choice(FAST)
    if draw.random() < 0.4:
        return _leaf(name, draw)
    spelt = draw.random() < 0.5
    text = recipes.dump(recipes.resolve([name])) if spelt else recipes.find(name).read_text()
    text = text.replace("config: ../base.yaml", f"config: {recipes.root() / 'base.yaml'}")
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        text = draw.choice(EDITS)(text, draw)
    return text


def _leaf(name: str, draw: random.Random) -> str:
    """A fully spelt recipe with one or two of its settings changed, renamed or taken away."""
    config = recipes.resolve([name]).config
    for _ in range(draw.choice((1, 1, 2))):
        path = draw.choice(list(_paths(config)))
        around: Any = config
        for key in path[:-1]:
            around = around[key]
        value, how = draw.choice(VALUES), draw.random()
        old = around.pop(path[-1]) if how < 0.15 else around[path[-1]]
        if how < 0.08 and isinstance(around, dict):
            around[draw.choice(("x", "", "1", "é", "lr", "callbacks", "optimizer+"))] = old
        elif how >= 0.15:
            around[path[-1]] = _plain(value)
    return yaml.safe_dump(config, sort_keys=False)


def _paths(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(pairs):
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from _paths(value, (*above, key))


def _plain(value: str) -> Any:
    """The value that a word of YAML means; the word itself where it means none."""
    try:
        found = yaml.safe_load(value)
        yaml.safe_dump(found)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
        return value
    return value if "&" in value else found


def _on_a_line(text: str, draw: random.Random) -> tuple[list[str], int]:
    lines = text.splitlines()
    used = [k for k, line in enumerate(lines) if line.strip() and not line.startswith("#")]
    return lines, draw.choice(used or [0])


def _delete(text: str, draw: random.Random) -> str:
    lines, k = _on_a_line(text, draw)
    return "\n".join(lines[:k] + lines[k + 1 :])


def _repeat(text: str, draw: random.Random) -> str:
    lines, k = _on_a_line(text, draw)
    return "\n".join(lines[:k] + [lines[k]] * draw.choice((2, 2, 50)) + lines[k + 1 :])


def _indent(text: str, draw: random.Random) -> str:
    lines, k = _on_a_line(text, draw)
    lines[k] = draw.choice((" ", "  ", "    ", "\t")) + lines[k]
    return "\n".join(lines)


def _dedent(text: str, draw: random.Random) -> str:
    lines, k = _on_a_line(text, draw)
    lines[k] = lines[k].removeprefix(draw.choice((" ", "  ")))
    return "\n".join(lines)


def _value(text: str, draw: random.Random) -> str:
    lines, k = _on_a_line(text, draw)
    lines[k] = f"{lines[k].partition(':')[0]}: {draw.choice(VALUES)}"
    return "\n".join(lines)


def _key(text: str, draw: random.Random) -> str:
    lines, k = _on_a_line(text, draw)
    before, colon, after = lines[k].partition(":")
    space = before[: len(before) - len(before.lstrip())]
    lines[k] = f"{space}{draw.choice((*VALUES, before.strip() + '+', before[1:]))}{colon}{after}"
    return "\n".join(lines)


def _line(text: str, draw: random.Random) -> str:
    lines, k = _on_a_line(text, draw)
    return "\n".join([*lines[:k], draw.choice(LINES), *lines[k:]])


def _swap(text: str, draw: random.Random) -> str:
    lines, k = _on_a_line(text, draw)
    _, other = _on_a_line(text, draw)
    lines[k], lines[other] = lines[other], lines[k]
    return "\n".join(lines)


def _letter(text: str, draw: random.Random) -> str:
    k = draw.randrange(len(text) + 1)
    return text[:k] + draw.choice(LETTERS) + text[k + draw.choice((0, 1)) :]


def _cut(text: str, draw: random.Random) -> str:
    return text[: draw.randrange(len(text) + 1)]


EDITS = (_delete, _repeat, _indent, _dedent, _value, _value, _value, _key, _line, _line, _swap,
         _letter, _cut)  # fmt: skip
