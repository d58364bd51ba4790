"""Recipe files: find, list, describe, resolve (extend and merge) and pre-check them. No torch."""

from genlab.recipes.classes import class_path, classes, parameters
from genlab.recipes.files import (
    RecipeError,
    check_names,
    facts,
    find,
    header,
    name_of,
    nearest,
    parse,
    root,
    shipped,
)
from genlab.recipes.resolve import (
    COMMAND_LINE,
    TOP_KEYS,
    Recipe,
    check_keys,
    dump,
    from_config,
    merge,
    resolve,
)

__all__ = [
    "COMMAND_LINE",
    "TOP_KEYS",
    "Recipe",
    "RecipeError",
    "check_keys",
    "check_names",
    "class_path",
    "classes",
    "dump",
    "facts",
    "find",
    "from_config",
    "header",
    "merge",
    "name_of",
    "nearest",
    "parameters",
    "parse",
    "resolve",
    "root",
    "shipped",
]
