from __future__ import annotations

import base64
import hashlib

import pytest
from urllib3 import HTTPHeaderDict

from classification.runtime.contents import Stamp
from classification.storage.digests import stated_md5, stated_stamp

DIGEST = hashlib.md5(b"image").digest()  # noqa: S324 - what servers say
TEXT = base64.b64encode(DIGEST).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-MD5": TEXT},
        {"content-md5": TEXT},
        {"x-goog-hash": f"crc32c=n03x6A==,md5={TEXT}"},
        {"x-goog-hash": f"crc32c=n03x6A==, md5={TEXT}"},
    ],
)
def test_servers_say_it_in_two_ways(headers: dict[str, str]) -> None:
    assert stated_md5(HTTPHeaderDict(headers)) == DIGEST


def test_headers_of_one_name_are_read_together() -> None:
    headers = HTTPHeaderDict()
    headers.add("x-goog-hash", "crc32c=n03x6A==")
    headers.add("x-goog-hash", f"md5={TEXT}")
    assert stated_md5(headers) == DIGEST


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-MD5": ""},
        {"Content-MD5": "no base64"},
        {"Content-MD5": TEXT[:12]},
        {"Content-MD5": "\N{BEAR FACE}"},
        {"x-goog-hash": "crc32c=n03x6A=="},
        {"ETag": DIGEST.hex()},
    ],
)
def test_all_else_says_none(headers: dict[str, str]) -> None:
    assert stated_md5(HTTPHeaderDict(headers)) is None


@pytest.mark.parametrize(
    ("headers", "stamp"),
    [
        ({}, None),
        ({"Content-Length": "12"}, Stamp(12)),
        ({"Content-Length": "12", "Content-Encoding": "gzip"}, None),
        ({"Content-Length": "-1", "Last-Modified": "soon"}, None),
        (
            {"Last-Modified": "Thu, 01 Jan 1970 00:00:02 GMT"},
            Stamp(-1, 2_000_000_000),
        ),
        ({"ETag": '"0x8D"', "Content-Length": "1"}, Stamp(1, 0, "0x8D")),
        ({"ETag": 'W/"0x8D"', "Content-Length": "1"}, Stamp(1, 0, "0x8D")),
        (
            {"ETag": '"0x8D"', "Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="},
            Stamp(-1, 0, "d41d8cd98f00b204e9800998ecf8427e"),
        ),
    ],
)
def test_a_stamp_is_all_that_a_head_tells(
    headers: dict[str, str], stamp: Stamp | None
) -> None:
    assert stated_stamp(headers) == stamp
