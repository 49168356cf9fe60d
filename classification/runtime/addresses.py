"""Web addresses as they may be shown: without what opens the door.

An address may hold a password, and its query often is a token (a SAS) that lets whoever
has it read, or write, a whole container. Neither belongs in a message, a log or a file.
"""

from __future__ import annotations

import re

_WEB = re.compile(r"https?://", re.IGNORECASE)
_QUERY = re.compile(r"[?#]\S*")
_USER = re.compile(r"(?<=://)[^\s/@]*@")
_SECRET = re.compile(
    r"(?i)\b(sig|x-amz-signature|x-goog-signature|signature|token|access_token)"
    r"(=|%3d)[^&\s\"'<>]+|(?<=\bbearer )\S+"
)


def shown(url: str) -> str:
    """Returns an address without user, password, query and fragment."""
    return _USER.sub("", re.split(r"[?#]", url, maxsplit=1)[0])


def without_tokens(text: str) -> str:
    """Returns text of someone else's with each address in it as ``shown``."""
    return _USER.sub("", _QUERY.sub("", text))


def redacted(text: str) -> str:
    """Returns text of any kind without the signatures and tokens that stand in it.

    The last line of defence, for what libraries log: all else in the text stays.
    """
    return _SECRET.sub(lambda found: f"{found[1]}=..." if found[1] else "...", text)


def is_address(text: str) -> bool:
    """Says whether a text is a web address, not a path."""
    return bool(_WEB.match(text))
