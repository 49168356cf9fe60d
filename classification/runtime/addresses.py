"""Web addresses as they may be shown: without what opens the door.

An address may hold a password, and its query often is a token (a SAS) that lets whoever
has it read, or write, a whole container. Neither belongs in a message, a log or a file.
"""

from __future__ import annotations

import re

_QUERY = re.compile(r"[?#]\S*")
_USER = re.compile(r"(?<=://)[^\s/@]*@")


def shown(url: str) -> str:
    """Returns an address without user, password, query and fragment."""
    return _USER.sub("", re.split(r"[?#]", url, maxsplit=1)[0])


def without_tokens(text: str) -> str:
    """Returns text of someone else's with each address in it as ``shown``."""
    return _USER.sub("", _QUERY.sub("", text))
