"""Addresses without the passwords and tokens in them, for what is stored, printed or uploaded."""

from __future__ import annotations

import re
from typing import Any

# an address ends at white space, at a quote, and where the next of a list or chain begins
SCHEME = r"[a-z][a-z0-9+.-]{0,30}://"
ADDRESS = re.compile(rf"\b({SCHEME})((?:(?!(?:,|::){SCHEME})[^\s\"'])+)", re.I)
SECRET = re.compile("token|secret|passw|pwd|key|signature|^sig$|auth|credential|session|jwt", re.I)


def without_credentials(node: Any) -> Any:
    """A copy of plain values, at every depth without credentials in addresses.

    ``user:password@`` goes, a user alone where that is a token (http), and every value of a query
    or fragment whose name says token, key, signature ... The rest of the address stays.
    """
    if isinstance(node, str):
        return ADDRESS.sub(_bare, node)
    if isinstance(node, dict):
        return {key: without_credentials(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(map(without_credentials, node))
    return node


def _bare(found: re.Match[str]) -> str:
    scheme, text = found.groups()
    rest = text.rstrip(",]})")  # of the mapping or list around it
    rest, _, fragment = _without_user(rest, "http" in scheme.lower()).partition("#")
    place, _, query = rest.partition("?")
    bare = place + _public("?", query) + _public("#", fragment)
    return scheme + without_credentials(bare) + text[len(text.rstrip(",]})")) :]


def _without_user(rest: str, token: bool) -> str:
    """An address, from its user on, without user and password; without a mere user if a token."""
    server = re.split("[/?#]", rest, maxsplit=1)[0]
    user, at, _ = server.rpartition("@")
    if not at and re.search(r":(?!\d*$)", server) and not server.startswith("["):
        user, at, _ = rest.partition("@")  # a password that is not escaped
    return rest[len(user) + 1 :] if at and (":" in user or token) else rest


def _public(mark: str, pairs: str) -> str:
    """A query or fragment with its mark, without what its names call secret."""
    found = re.findall(r"([&;?]?)([^&;?]+)", pairs)
    kept = [join + pair for join, pair in found if not SECRET.search(pair.partition("=")[0])]
    return mark + "".join(kept).lstrip("&;?") if kept else ""
