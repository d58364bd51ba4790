"""The reference of the command line, from the parsers of its commands."""

from __future__ import annotations

import argparse
import inspect
from importlib import import_module

from docs.builder.markdown import code, section, table
from genlab import cli
from genlab.internals import python_parts

INTRODUCTION = """# Command line

`key=value` reaches any setting of a recipe by its short name, `key+=` appends to a list.
`--key value` and `--key=value` mean the same. Wrong input ends with exit code 2 and at most three
lines: what is wrong, where, and the nearest valid name. A fault of the machine ends with code 1.

"""


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of a command."""
    options = getattr(import_module(f"genlab.cli.{cli.COMMANDS[name]}"), f"{name}_options")
    parser = argparse.ArgumentParser(
        f"genlab {name}", description=inspect.getdoc(options), add_help=False
    )
    options(parser)
    if name in cli.FROM_FILES:
        parser.add_argument("--trust", action="append", metavar="NAME", help=cli.TRUST)
    return parser


def page() -> str:
    """The page of all commands."""
    return INTRODUCTION + "".join(section(f"genlab {n}", command(n)) for n in sorted(cli.COMMANDS))


def command(name: str) -> str:
    """Usage, purpose and options of a command."""
    parser = parser_of(name)
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=88)
    usage = parser.format_usage().removeprefix("usage: ").rstrip()
    purpose = (parser.description or "").replace("%%", "%")
    rows = [_row(action) for action in python_parts.actions(parser)]
    return f"{purpose}\n\n```text\n{usage}\n```\n\n" + table(("option", "meaning"), rows)


def _row(action: argparse.Action) -> tuple[str, str]:
    shown = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.choices:
        shown = "|".join(map(str, action.choices))
    names = ", ".join(action.option_strings) or shown
    takes = f" {shown}" if action.option_strings and action.nargs != 0 else ""
    text = (action.help or "").replace("%%", "%").replace("%(default)s", str(action.default))
    return code(names + takes), text
