"""Addresses that are stored without what opens them."""

from __future__ import annotations

import pytest

from genlab.recipes import without_credentials


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://h.org/a/w.pth?token=abc", "https://h.org/a/w.pth"),
        ("https://h.org/w.pth?id=7&X-Amz-Signature=ab%2F&raw=1", "https://h.org/w.pth?id=7&raw=1"),
        ("https://hf_abc@h.org/w.pth", "https://h.org/w.pth"),
        ("ftp://me:pass@h.org:21/w.pth", "ftp://h.org:21/w.pth"),
        ("sftp://me@h.org/w.pth", "sftp://me@h.org/w.pth"),
        ("simplecache::s3://key:secret@bucket/w.pth", "simplecache::s3://bucket/w.pth"),
        ("model.pretrained=HTTP://u:p@h/w?sig=1", "model.pretrained=HTTP://h/w"),
        ("model={a: [ftp://u:p@h/x, ftp://u:p@h/y]}", "model={a: [ftp://h/x, ftp://h/y]}"),
        ("https://h.org/w.pth?download=true", "https://h.org/w.pth?download=true"),
        ("wandb:me/project/name:v3", "wandb:me/project/name:v3"),
        ("hf-hub:me/net@main", "hf-hub:me/net@main"),
    ],
)
def test_what_an_address_keeps(given: str, kept: str) -> None:
    assert without_credentials(given) == kept
    assert without_credentials({"a": [given, 3, None]}) == {"a": [kept, 3, None]}
    assert without_credentials((given,)) == (kept,)
