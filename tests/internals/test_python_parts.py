"""Every undocumented part of Python, PyYAML and glibc does what its function says."""

from __future__ import annotations

import argparse
import ctypes
import platform
import tarfile
from io import BytesIO

import pytest
import yaml

from genlab.internals import python_parts as parts


def test_option_names() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--steps", "-s")
    parser.add_argument("words")
    assert sorted(parts.option_names(parser)) == ["--steps", "-s"]


def test_actions() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--steps", "-s")
    parser.add_argument("words")
    assert [action.dest for action in parts.actions(parser)] == ["steps", "words"]


def test_drop_resolver() -> None:
    class Loader(yaml.SafeLoader): ...

    assert yaml.load("on", Loader=Loader) is True
    parts.drop_resolver(Loader, "tag:yaml.org,2002:bool")
    assert yaml.load("on", Loader=Loader) == "on"
    assert yaml.load("1", Loader=Loader) == 1
    assert yaml.safe_load("on") is True  # its base is as it was


def test_end_of_archive_and_forget_members() -> None:
    file = BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(3):
            info = tarfile.TarInfo(f"{number}")
            info.size = 600
            assert parts.end_of_archive(tar) == number * (512 + 2 * 512)
            tar.addfile(info, BytesIO(bytes(600)))
            assert len(tar.members) == 1  # type: ignore[attr-defined]
            parts.forget_members(tar)
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        assert tar.getnames() == ["0", "1", "2"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's setting")
def test_mallopt() -> None:
    """That it does what it is for shows `tests.training.engine.test_memory`."""
    assert hasattr(ctypes.CDLL(None), "mallopt")


def test_mallopt_without_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not parts.mallopt([(parts.TRIM_THRESHOLD, 0)])
