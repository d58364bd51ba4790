"""A run's configuration for the tables of trackers: few levels, short names of classes."""

from __future__ import annotations

from typing import Any

LEFT_OUT = ("history",)  # facts that grow with every start


def short(config: dict[str, Any]) -> dict[str, Any]:
    """Nested settings whose dotted names are those of the command line.

    ``model: {class_path: a.b.VAE, init_args: {latent_dim: 2}}`` becomes
    ``model: {class: VAE, latent_dim: 2}``, and a list of classes a mapping by their names.

    Args:
        config: a resolved recipe, perhaps with the facts of its run under ``run``.
    """
    found = {key: _short(value) for key, value in config.items()}
    if isinstance(facts := found.get("run"), dict):
        found["run"] = {key: value for key, value in facts.items() if key not in LEFT_OUT}
    return found


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{a: {b: 1}}`` -> ``{a.b: 1}``; lists become text."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            plain = isinstance(value, str | int | float | bool)
            found[f"{prefix}{key}"] = value if plain else str(value)
    return found


def _short(node: Any) -> Any:
    if isinstance(node, list):
        names = [_class_of(item) for item in node]
        if not node or not all(names):
            return [_short(item) for item in node]
        found: dict[str, Any] = {}
        for name, item in zip(names, node, strict=True):
            copies = sum(key.partition("-")[0] == name for key in found)
            found[f"{name}-{copies + 1}" if copies else name] = _arguments(item)
        return found
    if not isinstance(node, dict):
        return node
    if name := _class_of(node):
        return {"class": name} | _arguments(node)
    return {key: _short(value) for key, value in node.items()}


def _class_of(node: Any) -> str:
    path = node.get("class_path") if isinstance(node, dict) else None
    return path.rpartition(".")[2] if isinstance(path, str) else ""


def _arguments(node: dict[str, Any]) -> dict[str, Any]:
    given = node.get("init_args")
    return {key: _short(value) for key, value in given.items()} if isinstance(given, dict) else {}
