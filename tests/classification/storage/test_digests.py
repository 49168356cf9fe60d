from __future__ import annotations

import base64
import hashlib

import pytest
from urllib3 import HTTPHeaderDict

from classification.storage.digests import stated_md5

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
