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
        ("https://me:pa,ss@h/x", "https://h/x"),
        ("https://me:{p|a}[s]@h:81/x", "https://h:81/x"),
        ("https://me:pa/s?s#@h/x", "https://h/x"),
        ("https://h/x?token=abc,def", "https://h/x"),
        ("https://h/x?a=1;token=zz;b=2", "https://h/x?a=1;b=2"),
        ("https://h/x?a=1#access_token=abc", "https://h/x?a=1"),
        ("https://h/x?a=1#part", "https://h/x?a=1#part"),
        ("https://h/x?next=https://u:p@g/y?token=abc", "https://h/x?next=https://g/y"),
        ("zip://w.pth::https://u:p@h/a.zip?key=1", "zip://w.pth::https://h/a.zip"),
        ("[https://u:p@h/x,https://g/y?sig=1]", "[https://h/x,https://g/y]"),
        ("{a: https://h/x?token=abc, b: 2}", "{a: https://h/x, b: 2}"),
        ("no encoder 'https://u:p@h/x'; nearest: a", "no encoder 'https://h/x'; nearest: a"),
        ("git+https://abc@h/x", "git+https://h/x"),
        ("http://[::1]:80/x?a=u@b", "http://[::1]:80/x?a=u@b"),
        ("s3://bucket/{000..012}.tar", "s3://bucket/{000..012}.tar"),
        ("https://h:8080/a@b:c", "https://h:8080/a@b:c"),
        ("wandb:me/project/name:v3", "wandb:me/project/name:v3"),
        ("hf-hub:me/net@main", "hf-hub:me/net@main"),
    ],
)
def test_what_an_address_keeps(given: str, kept: str) -> None:
    assert without_credentials(given) == kept
    assert without_credentials({"a": [given, 3, None]}) == {"a": [kept, 3, None]}
    assert without_credentials((given,)) == (kept,)
