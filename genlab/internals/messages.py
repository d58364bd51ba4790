"""Parsed messages of other libraries, where no attribute gives the same information."""

from __future__ import annotations

import os
import pickle
import re

from genlab.errors import first_line


def unknown_argument(error: Exception) -> tuple[str, bool] | None:
    """The keyword that a call of Python's refused, and whether it was given twice.

    Returns:
        None where the error is about something else.
    """
    found = re.search(r"(unexpected|multiple values for) keyword argument\S* \W*(\w+)", str(error))
    return (found[2], found[1] != "unexpected") if found else None


def union_reason(error: Exception) -> str | None:
    """The reason of a class that jsonargparse made for an argument of several types, or None.

    It lists the refusals of all types; most of them are about the type.
    """
    if not str(error).startswith("Does not validate against any of the Union"):
        return None
    listed = re.findall(r"^  - (?!Not a valid |Expected )(.+)", str(error), re.M)
    return listed[0] if listed else None


def unknown_option(message: str) -> str | None:
    """The first option that argparse does not know, of its ``error`` message; None for others."""
    head, _, rest = message.partition("unrecognized arguments: ")
    if not rest or head:
        return None
    return (rest.split() or [repr(rest)])[0].partition("=")[0]  # a word may be a space


def refused_global(error: Exception) -> str | None:
    """The name that ``torch.load(weights_only=True)`` refused; None where it could not read."""
    text = str(error)
    found = re.search(r"GLOBAL (\S+)", text) or re.search(r"got (<class .*?>)", text)
    if found is None and "reduce for unrecognized" in text:
        return "a call of a function"
    return found[1] if found else None


def load_reason(error: Exception) -> str:
    """The first line of an error of ``torch.load`` after the page of advice that opens it."""
    if "Weights only load failed" not in str(error):
        return first_line(error)
    return first_line(pickle.UnpicklingError(str(error).rpartition("WeightsUnpickler error:")[2]))


def mismatch(error: RuntimeError) -> str:
    """The last of the differences that ``load_state_dict`` lists, without its heading."""
    return str(error).splitlines()[-1].strip()


def disk_error(error: BaseException) -> OSError | None:
    """The system's error that safetensors hands on as text; None for other errors."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def out_of_memory(error: BaseException) -> str | None:
    """The sentence of torch's or Python's that says how much memory was missing; None for others.

    That of a CPU is a RuntimeError as any other.
    """
    if isinstance(error, MemoryError):
        return first_line(error)
    found = re.search(r"(CUDA out of|can't allocate) memory.*", str(error))
    return found[0] if found and isinstance(error, RuntimeError) else None


def says_not_found(error: Exception) -> bool:
    """True if torchvision says that a data set is not on the disk.

    A damaged one has the same type of error.
    """
    return isinstance(error, FileNotFoundError) or "not found" in str(error).lower()


def sync_failure(output: str) -> str:
    """The line of ``wandb sync``'s output that says why a part is not uploaded."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    wrong = [line for line in lines if re.search("error|fail|not |unable|denied", line, re.I)]
    return (wrong or lines or ["wandb sync said nothing"])[-1].removeprefix("wandb: ")


def without_stream(error: Exception) -> str:
    """The first line of an error of Pillow's without the stream object that it names."""
    return re.sub(r" <_io\.\S+ object at 0x[0-9a-f]+>", "", first_line(error))


def lost_peer(error: BaseException) -> str | None:
    """The reason why a collective failed for lack of another process; None for other errors.

    Returns:
        ``gone``, ``silent`` where it does not answer in time, or ``absent`` where the processes
        have not met.
    """
    from torch.distributed import DistError, DistStoreError

    text = str(error)
    if isinstance(error, DistStoreError) and "clients joined" in text:
        return "absent"
    if not isinstance(error, DistError) and not re.search(r"gloo[/\\]\w+[/\\].*\.cc", text):
        return None
    return "silent" if re.search(r"[Tt]imed out|[Tt]imeout", text) else "gone"
