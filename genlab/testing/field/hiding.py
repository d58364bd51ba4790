"""A text without anything of the machine that it was written on, and of its user."""

from __future__ import annotations

import getpass
import os
import platform
import re
import socket
from contextlib import suppress
from pathlib import Path

from genlab.recipes import imports

HIDDEN = "…"
QUOTED = re.compile(r"(?P<mark>['\"])(?:~\w*|[A-Za-z]:)?[\\/][^'\"\n]+(?P=mark)")
PATH = re.compile(  # folders may have spaces in their names: up to the last slash of a line
    r"(?<![\w.…])(?:~\w*|[A-Za-z]:)?[\\/](?=[^\s\\/])(?:[^\\/\n'\",;:()]*[\\/])*[^\s\\/'\",;:()]*"
)
PACKAGE = re.compile(r"(?:site|dist)-packages[\\/]([\w.\\/-]+)")
ENDINGS = "com|org|net|edu|gov|mil|int|local|lan|internal|intranet|cluster|localdomain|cloud"
CODE = r"(?!(?:torch|genlab|lightning|timm|aten|numpy|torchvision|torchmetrics)\.)"  # no host's
ADDRESSES = (
    re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\",()]+", re.I),
    re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"),
    re.compile(r"\b(?:(?:[0-9a-f]{1,4}:){4,7}[0-9a-f]{1,4}|f[cde][0-9a-f]{2}:[0-9a-f:]+)\b", re.I),
    re.compile(
        rf"(?<![\w./-]){CODE}(?:(?:[a-z0-9-]+\.)+(?:{ENDINGS})"
        r"|(?:[a-z0-9-]+\.){2,}(?!(?:py|gz|so)\b)[a-z]{2})(?!\.?[\w-])(?::\d+)?", re.I,
    ),
    re.compile(r"(?<![\w./-])[a-z][\w-]*:\d{4,5}\b", re.I),
)  # fmt: skip


def without_names(text: str) -> str:
    """A text without paths, addresses and names of machines, and its user's name.

    A file of genlab's or of an installed package keeps its place in that.
    """
    text = text.replace(str(imports.ROOT), imports.ROOT.name)
    for pattern in ADDRESSES:
        text = pattern.sub(HIDDEN, text)
    text = PATH.sub(_shortened, QUOTED.sub(_shortened, text))
    for name in _names():
        text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", HIDDEN, text)
    return text


def _shortened(found: re.Match[str]) -> str:
    inside, mark = PACKAGE.search(found[0]), found.groupdict().get("mark") or ""
    return f"{mark}{inside[1] if inside else HIDDEN}{mark}"


def _names() -> set[str]:
    """Names of this machine and of its user, the longest first where one holds another."""
    hosts = [socket.gethostname(), platform.node(), os.environ.get("SLURMD_NODENAME", "")]
    names = [*hosts, *(host.partition(".")[0] for host in hosts)]
    names += [os.environ.get(key, "") for key in ("USER", "LOGNAME", "USERNAME")]
    with suppress(OSError, KeyError):
        names += [getpass.getuser(), Path.home().name]
    return {name for name in names if len(name) > 2}
