from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from classification.runtime.errors import ItemError
from classification.storage import download, reach
from classification.storage.download import Patience
from tests.web import Reply, serving

PATIENCE = Patience(silence_s=5, tries=2, pause_s=0)


def refuse(url: str) -> None:
    raise ItemError(f"not {url}")


def test_without_a_limit_all_may_be_asked() -> None:
    reach.check("http://127.0.0.1/")


def test_a_limit_holds_in_its_block_and_thread() -> None:
    with reach.limited_to(refuse):
        with pytest.raises(ItemError, match="not http://a/"):
            reach.check("http://a/")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(reach.check, "http://a/").result()
    reach.check("http://a/")


def test_nothing_is_sent_to_where_one_must_not_go() -> None:
    with serving(Reply(b"x")) as web, reach.limited_to(refuse):
        with pytest.raises(ItemError):
            download.read(web.url, max_bytes=9, patience=PATIENCE)
        with pytest.raises(ItemError):
            download.exists(web.url, patience=PATIENCE)
        assert web.asked == []


def test_each_redirect_is_checked() -> None:
    asked: list[str] = []

    def note(url: str) -> None:
        asked.append(url)
        if url.endswith("/c"):
            refuse(url)

    replies = [Reply(b"", 302, (("Location", f"/{name}"),)) for name in "bc"]
    with serving(*replies, Reply(b"x")) as web, reach.limited_to(note):
        with pytest.raises(ItemError, match=r"/c$"):
            download.read(f"{web.url}/a", max_bytes=9, patience=PATIENCE)
        assert web.asked == ["/a", "/b"]
        assert asked == [f"{web.url}/{name}" for name in "abc"]
