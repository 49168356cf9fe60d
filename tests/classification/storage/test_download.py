from __future__ import annotations

import base64
import hashlib
import logging
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from classification.runtime.errors import AccessError, StorageError
from classification.storage import download, retrying
from classification.storage.download import (
    DownloadError,
    MissingError,
    NoAnswerError,
    Patience,
)
from tests.faults import Fault, spoiling
from tests.web import Reply, Web, serving

DATA = b'{"images": []}' * 100_000
QUICK = Patience(silence_s=5, tries=3, pause_s=0.01)
SECRET = "sv=2020&sig=SECRET"  # noqa: S105 - what must not be shown
CHUNKED = (("Transfer-Encoding", "chunked"),)


def ask(web: Web, folder: Path, **options: str) -> Path:
    target = folder / "new" / "d.json"
    url = f"{web.url}/task/d.json?{SECRET}"
    download.fetch(url, target, patience=QUICK, **options)
    return target


def refusal(web: Web, folder: Path, **options: str) -> str:
    """Returns what is said, but for the address, which shows no secret."""
    with pytest.raises(DownloadError) as refused:
        ask(web, folder, **options)
    text = str(refused.value)
    assert "SECRET" not in text
    assert list((folder / "new").iterdir()) == []
    return text.replace(f"{web.url}/task/d.json", "URL")


def test_a_file_is_fetched_whole(tmp_path: Path) -> None:
    with serving(Reply(DATA)) as web:
        assert ask(web, tmp_path).read_bytes() == DATA
        assert web.asked == [f"/task/d.json?{SECRET}"]


@pytest.mark.parametrize(
    "failure",
    [
        Reply(status=500),
        Reply(status=503),
        Reply(status=429),
        Reply(DATA[:50], length=len(DATA)),
        Reply(b"5\r\n12345\r\n", headers=CHUNKED),
        Reply(),
    ],
    ids=["500", "503", "429", "truncated", "truncated chunks", "empty"],
)
def test_d38_what_may_pass_is_tried_again(failure: Reply, tmp_path: Path) -> None:
    with serving(failure, failure, Reply(DATA)) as web:
        assert ask(web, tmp_path).read_bytes() == DATA
        assert len(web.asked) == 3


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(status=500), "HTTP 500 Internal Server Error"),
        (Reply(DATA[:50], length=len(DATA)), f"50 of {len(DATA)} bytes came"),
        (Reply(b"5\r\n12345\r\n", headers=CHUNKED), "the answer broke off"),
        (Reply(), "nothing came"),
    ],
)
def test_d38_the_number_of_tries_is_bounded(
    reply: Reply, reason: str, tmp_path: Path
) -> None:
    with serving(reply) as web:
        assert refusal(web, tmp_path) == f"cannot download URL: {reason} (try 3 of 3)"
        assert len(web.asked) == 3


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, "HTTP 404 Not Found"),
        (400, "HTTP 400 Bad Request"),
        (499, "HTTP 499"),
    ],
)
def test_what_will_not_pass_is_asked_once(
    status: int, reason: str, tmp_path: Path
) -> None:
    with serving(Reply(status=status)) as web:
        assert refusal(web, tmp_path) == f"cannot download URL: {reason}"
        assert len(web.asked) == 1


@pytest.mark.parametrize(
    ("status", "headers", "query", "said"),
    [
        (401, (), "", "lets nobody in: HTTP 401 Unauthorized"),
        (403, (), "?sig=SECRET", "lets nobody in with this token: HTTP 403 Forbidden"),
        (
            403,
            (),
            "?se=2021-02-03T04%3A05%3A06Z&sig=SECRET",
            "lets nobody in with a token that expired at 2021-02-03T04:05:06Z: HTTP 403 Forbidden",
        ),
        (
            403,
            (("x-ms-error-code", "AuthenticationFailed"),),
            "",
            "lets nobody in: HTTP 403 Forbidden (AuthenticationFailed)",
        ),
        (
            404,
            (("x-ms-error-code", "ContainerNotFound"),),
            "?sig=SECRET",
            "has no such container: HTTP 404 Not Found (ContainerNotFound)",
        ),
    ],
    ids=["401", "token", "expired token", "azure", "no container"],
)
def test_a_closed_door_is_told_from_a_missing_file(
    status: int, headers: tuple[tuple[str, str], ...], query: str, said: str
) -> None:
    with serving(Reply(status=status, headers=headers)) as web:
        for ask in (partial(download.read, max_bytes=9), download.exists):
            with pytest.raises(AccessError) as refused:
                ask(f"{web.url}/a.jpg{query}", patience=QUICK)
            assert str(refused.value) == f"{web.url} {said}"
    assert len(web.asked) == 2


def test_d38_a_silent_server_is_not_waited_for(tmp_path: Path) -> None:
    patience = Patience(silence_s=0.1, tries=2, pause_s=0)
    slow = Reply(DATA, during=partial(time.sleep, 0.5))
    with serving(slow) as web, pytest.raises(DownloadError) as refused:
        download.fetch(web.url, tmp_path / "d", patience=patience)
    assert str(refused.value) == (
        f"cannot download {web.url}: no answer in time (try 2 of 2)"
    )


def test_a_server_that_trickles_is_given_up(tmp_path: Path) -> None:
    patience = Patience(limit_s=0, tries=1)
    with serving(Reply(b"12345")) as web, pytest.raises(DownloadError) as refused:
        download.fetch(web.url, tmp_path / "d", patience=patience)
    assert str(refused.value) == (
        f"cannot download {web.url}: 5 bytes came, too slowly (try 1 of 1)"
    )


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as refused:
        download.fetch("http://127.0.0.1:1/a", tmp_path / "d", patience=QUICK)
    assert str(refused.value) == (
        "cannot download http://127.0.0.1:1/a: Connection refused (try 3 of 3)"
    )


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/a",
        "data:,hello",
        "127.0.0.1/a",
        "",
        "http://",
        "http://127.0.0.1:port/a",
        "http://127.0.0.1/with space",
        "http://127.0.0.1/\x00",
        Path(__file__).as_uri(),
    ],
)
def test_what_is_no_web_address_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as refused:
        download.fetch(f"{url}?{SECRET}", tmp_path / "d", patience=QUICK)
    assert str(refused.value) == (
        f"cannot download {url}: not an address of http or https"
    )
    assert list(tmp_path.iterdir()) == []


def test_no_answer_leads_to_a_file_of_this_machine(tmp_path: Path) -> None:
    elsewhere = (("Location", Path(__file__).as_uri()),)
    with serving(Reply(status=302, headers=elsewhere)) as web:
        assert refusal(web, tmp_path) == "cannot download URL: HTTP 302 Found"


def test_another_file_than_expected_is_not_kept(tmp_path: Path) -> None:
    digest = hashlib.sha256(DATA).hexdigest()
    with serving(Reply(DATA)) as web:
        assert ask(web, tmp_path, checksum=f"sha256:{digest}").exists()
        assert ask(web, tmp_path, checksum=f"sha256:{digest[:8]}").exists()
    with serving(Reply(DATA)) as web:
        assert refusal(web, tmp_path / "x", checksum=f"sha256:{digest[1:]}") == (
            f"URL is not what was expected: its sha256 is {digest}, not {digest[1:]}"
        )


def test_a_place_that_cannot_be_written_is_no_fault_of_the_server(
    tmp_path: Path,
) -> None:
    (tmp_path / "new").touch()
    with serving(Reply(DATA)) as web, pytest.raises(StorageError) as refused:
        ask(web, tmp_path)
    assert str(refused.value).startswith(f"cannot write {tmp_path / 'new' / 'd.json'}")
    assert web.asked == []


def test_no_log_line_shows_the_token(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(Reply(status=500), Reply(DATA)) as web:
        ask(web, tmp_path)
        [message] = caplog.messages
        expected = f"{web.url}/task/d.json: HTTP 500 Internal Server Error; again in "
        assert message.startswith(expected)


def test_what_is_at_an_address_is_read_into_memory() -> None:
    with serving(Reply(status=503), Reply(DATA)) as web:
        url = f"{web.url}/a.jpg?{SECRET}"
        assert download.read(url, max_bytes=len(DATA), patience=QUICK) == DATA
        assert web.asked == [f"/a.jpg?{SECRET}"] * 2


def test_more_than_is_wanted_is_refused() -> None:
    with serving(Reply(DATA)) as web, pytest.raises(DownloadError) as refused:
        download.read(f"{web.url}/a?{SECRET}", max_bytes=100, patience=QUICK)
    assert str(refused.value) == f"{web.url}/a is larger than 100 bytes"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(status=404), MissingError),
        (Reply(status=410), MissingError),
        (Reply(status=403), DownloadError),
        (Reply(status=503), NoAnswerError),
        (Reply(DATA[:50], length=len(DATA)), NoAnswerError),
    ],
    ids=["404", "410", "403", "503", "truncated"],
)
def test_what_is_not_there_is_told_from_what_does_not_answer(
    reply: Reply, kind: type[DownloadError]
) -> None:
    with serving(reply) as web, pytest.raises(DownloadError) as refused:
        download.read(web.url, max_bytes=len(DATA), patience=QUICK)
    assert type(refused.value) is kind


@pytest.mark.parametrize(
    ("replies", "there"),
    [
        ([Reply(DATA)], True),
        ([Reply()], True),
        ([Reply(status=500), Reply(DATA)], True),
        ([Reply(status=404)], False),
        ([Reply(status=410)], False),
    ],
)
def test_whether_something_is_there(replies: list[Reply], there: bool) -> None:
    with serving(*replies) as web:
        assert download.exists(f"{web.url}/a?{SECRET}", patience=QUICK) == there


@pytest.mark.parametrize("status", [403, 503])
def test_d10_what_cannot_be_told_is_not_taken_for_missing(status: int) -> None:
    with serving(Reply(status=status)) as web, pytest.raises(DownloadError):
        download.exists(web.url, patience=QUICK)


def test_a_server_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "GRACE_S", 0.2)
    patience = Patience(tries=2, pause_s=0)
    with (
        serving(Reply(b"image" * 99)) as web,
        spoiling(web.url, 1, faults=[Fault.DRIP]) as proxy,
        pytest.raises(
            NoAnswerError, match=r"\d bytes came, too slowly \(try 2 of 2\)$"
        ),
    ):
        download.read(f"{proxy.url}/a.jpg", max_bytes=999, patience=patience)
    assert proxy.requests == 2


def stating(digest: bytes) -> Reply:
    text = base64.b64encode(digest).decode()
    return Reply(b"image", headers=(("Content-MD5", text),))


RIGHT = stating(hashlib.md5(b"image").digest())  # noqa: S324 - what servers say
WRONG = stating(hashlib.md5(b"other").digest())  # noqa: S324 - what servers say


def test_bytes_that_are_not_what_the_server_says_are_fetched_again() -> None:
    with serving(WRONG, WRONG, RIGHT) as web:
        assert download.read(web.url, max_bytes=9, patience=QUICK) == b"image"
        assert len(web.asked) == 3
    with serving(WRONG) as web, pytest.raises(NoAnswerError, match="another MD5"):
        download.read(web.url, max_bytes=9, patience=QUICK)


def test_an_md5_may_be_required_or_passed_over() -> None:
    with serving(WRONG) as web:
        found = download.read(web.url, max_bytes=9, patience=QUICK, md5="off")
        assert found == b"image"
    with serving(Reply(b"image")) as web:
        assert download.read(web.url, max_bytes=9, patience=QUICK) == b"image"
        with pytest.raises(DownloadError, match="says no MD5"):
            download.read(web.url, max_bytes=9, patience=QUICK, md5="require")
    with serving(RIGHT) as web:
        found = download.read(web.url, max_bytes=9, patience=QUICK, md5="require")
        assert found == b"image"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3),
        ("9" * 5000, float("inf")),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Mon, 01 Jan 0001 00:00:00 -0000", 0),
        ("soon", 0),
    ],
)
def test_how_long_a_server_asks_to_wait(text: str, seconds: float) -> None:
    assert retrying.asked_wait_s({"Retry-After": text}) == seconds
    assert retrying.asked_wait_s({}) == 0


def test_d38_a_server_that_asks_for_time_gets_it() -> None:
    busy = Reply(status=503, headers=(("Retry-After", "1"),))
    began = time.monotonic()
    with serving(busy, Reply(b"image")) as web:
        assert download.read(web.url, max_bytes=9, patience=QUICK) == b"image"
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "five", "5, 5"])
def test_a_length_that_is_none_is_passed_over(length: str) -> None:
    headers = (("Content-Length", length),)
    with serving(Reply(b"image", headers=headers)) as web:
        patience = Patience(silence_s=0.2, tries=1)
        with suppress(DownloadError):
            assert download.read(web.url, max_bytes=9, patience=patience) == b"image"
