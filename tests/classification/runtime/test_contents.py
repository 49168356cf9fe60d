from __future__ import annotations

import hashlib

from classification.runtime.contents import digest


def test_a_digest_is_blake2b_of_16_bytes() -> None:
    assert digest(b"") == "cae66941d9efbd404e4d88758ea67670"  # b2sum -l 128 of nothing
    assert digest(b"x") == hashlib.blake2b(b"x", digest_size=16).hexdigest()
