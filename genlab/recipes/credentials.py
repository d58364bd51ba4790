"""Addresses without the passwords and tokens in them, for what is stored, printed or uploaded."""

from __future__ import annotations

import re
from typing import Any

ADDRESS = re.compile(r"\b([a-z][a-z0-9+.-]*://)([^\s\"'<>\\^`{}|\[\],]+)", re.I)
SECRET = re.compile("token|secret|passw|pwd|key|signature|^sig$|auth|credential|session|jwt", re.I)


def without_credentials(node: Any) -> Any:
    """A copy of plain values, at every depth without credentials in addresses.

    ``user:password@`` goes, a user alone where that is a token (http), and every value of a query
    whose name says token, key, signature ... The rest of the address stays.
    """
    if isinstance(node, str):
        return ADDRESS.sub(_bare, node)
    if isinstance(node, dict):
        return {key: without_credentials(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(map(without_credentials, node))
    return node


def _bare(found: re.Match[str]) -> str:
    scheme, rest = found.groups()
    place, _, query = rest.partition("?")
    server, slash, path = place.partition("/")
    user, at, host = server.rpartition("@")
    if at and (":" in user or scheme.lower().startswith("http")):
        server = host
    kept = [pair for pair in query.split("&") if not SECRET.search(pair.partition("=")[0])]
    return scheme + server + slash + path + ("?" + "&".join(kept) if any(kept) else "")
