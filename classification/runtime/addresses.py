"""Web addresses as they may be shown: without what opens the door.

An address may hold a password, and its query often is a token (a SAS) that lets whoever
has it read, or write, a whole container. Neither belongs in a message, a log or a file.
"""

from __future__ import annotations

import re

_WEB = re.compile(r"https?://", re.IGNORECASE)
# With a scheme; what urllib3 says of one; a query alone; or what may be a host and a path.
_ADDRESS = re.compile(
    r"(?i)(?:://|\burl: /|(?<!\S)\?[^\s=]+=)\S*|"
    r"(?P<host>(?<![-\w./\\])(?:[-\w]+\.)+[a-z]\w*(?::\d+)?/\S*)"
)
_USER = re.compile(r"(?<=://)[^\s/@]*@")
_SECRET = re.compile(
    r"(?i)\b(sig|x-amz-signature|x-goog-signature|signature|token|access_token)"
    r"(=|%3d)[^&\s\"'<>]+|(?<=\bbearer )\S+"
)


def shown(url: str) -> str:
    """Returns an address without user, password, query and fragment."""
    return _USER.sub("", re.split(r"[?#]", url, maxsplit=1)[0])


def without_tokens(text: str) -> str:
    """Returns text of someone else's with each address in it as ``shown``.

    Paths stay whole, be there a ``#`` or ``?`` in them; what stands behind the name of a
    signature or token goes, wherever it is.
    """
    return redacted(_ADDRESS.sub(_shown, text))


def _shown(found: re.Match[str]) -> str:
    text = found[0]
    is_path = found["host"] and "=" not in text.partition("?")[2]
    return text if is_path else shown(text)


def redacted(text: str) -> str:
    """Returns text of any kind without the signatures and tokens that stand in it.

    The last line of defence, for what libraries log: all else in the text stays.
    """
    return _SECRET.sub(lambda found: f"{found[1]}=..." if found[1] else "...", text)


def is_address(text: str) -> bool:
    """Says whether a text is a web address, not a path."""
    return bool(_WEB.match(text))
