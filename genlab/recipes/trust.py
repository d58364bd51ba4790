"""The classes that a run may name besides genlab's: those that its user typed at ``fit``.

They lie in the run directory as ``trust.json``, signed for this directory with a key of the user's
own configuration folder. A copied, moved or foreign run has no valid signature, hence no list.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import sys
from collections.abc import Collection
from pathlib import Path

from genlab.files import new_file, replacing

FILE = "trust.json"
KEY_BYTES = 32


def of(path: str | Path) -> frozenset[str]:
    """The names that the user of this machine trusts in a run.

    Args:
        path: run directory, or a file in its ``checkpoints``.
    """
    run = Path(path)
    run = run.absolute().parent.parent if os.path.isfile(run) else run
    try:
        kept = json.loads((run / FILE).read_text(encoding="utf-8"))
        names, given = [str(name) for name in kept["names"]], str(kept["signature"])
        key = _key_file().read_bytes()
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return frozenset()
    right = len(key) == KEY_BYTES and hmac.compare_digest(
        given.encode("utf-8", "replace"), _signature(key, run, names).encode()
    )
    return frozenset(names if right else ())


def keep(run: Path, names: Collection[str]) -> None:
    """Sign the names that a run may use; nothing is written where there are none."""
    if not names or of(run) == frozenset(names):
        return
    listed = sorted(names)
    try:
        text = json.dumps({"names": listed, "signature": _signature(_key(), run, listed)}, indent=2)
        with replacing(run / FILE) as draft:
            draft.write_text(text + "\n")
    except OSError as error:
        print(
            f"the trust list of {run} cannot be kept ({error.strerror}): "
            f"resuming it requires --trust {' --trust '.join(listed)}",
            file=sys.stderr,
        )


def _signature(key: bytes, run: Path, names: list[str]) -> str:
    signed = json.dumps([str(run.resolve()), names]).encode()
    return hmac.new(key, signed, hashlib.sha256).hexdigest()


def _key_file() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(base) / "genlab" / "key"


def _key() -> bytes:
    """The user's key, made when it is needed first."""
    file = _key_file()
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = file.with_name(f".key.{os.getpid()}.tmp")
        with os.fdopen(new_file(temporary, 0o600), "wb") as stream:
            stream.write(secrets.token_bytes(KEY_BYTES))
        try:
            os.link(temporary, file)  # not replaced: another process may have made one meanwhile
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return file.read_bytes()
