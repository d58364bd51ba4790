"""``completion``: a script for bash, zsh or fish that completes genlab's command line."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path

from genlab.errors import RecipeError, nearest

VARIABLE = "GENLAB_COMPLETE"  # what is typed so far, a line each, and a line after them
SHELLS = ("bash", "zsh", "fish")


def completion_options(parser: ArgumentParser) -> None:
    """Print a shell's completion script: eval "$(genlab completion bash)"."""
    parser.add_argument("shell", metavar="bash|zsh|fish")


def completion(shell: str) -> None:
    """Print a script; or, for it, the completions of the line in ``GENLAB_COMPLETE``."""
    if shell in SHELLS:
        print((Path(__file__).parent / "shells" / f"genlab.{shell}").read_text(), end="")
        return
    if shell != "words":
        raise RecipeError(f"no completion of {shell}", hint=nearest(shell, SHELLS))
    from genlab.cli.candidates import candidates

    typed = os.environ.get(VARIABLE, "").split("\n")[:-1]
    print("\n".join(candidates(typed)))
