from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from classification.artifacts.batch_request import BatchRequest
from classification.artifacts.batch_response import BatchResponse, BatchStatus
from classification.runtime.errors import ArtifactError, ConfigurationError
from detection.batch_client import Client, NoAnswerError, RefusedError
from tests.web import Reply, serving

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = "SECRET-0123456789"  # noqa: S105 - of no service
REQUEST = BatchRequest(place="https://a.example/c?sig=SECRET", images=["a.jpg"])


def says(document: object, status: int = 200) -> Reply:
    return Reply(json.dumps(document).encode(), status)


def client(url: str) -> Client:
    return Client(url=f"{url}/api?sig=SECRET", token=TOKEN, silence_s=1, limit_s=1)


CALLS: list[Callable[[Client], object]] = [
    lambda client: client.submit(REQUEST),
    lambda client: client.ask("3c1f"),
]


def test_what_it_asks() -> None:
    with serving(says({"request_id": "3c1f"})) as web:
        assert client(web.url).submit(REQUEST) == "3c1f"
        assert web.asked == ["/api/request_detections?sig=SECRET"]
        ((headers, body),) = web.received
        assert headers["Authorization"] == f"Bearer {TOKEN}"
        assert headers["Content-Type"] == "application/json"
        assert json.loads(body) == {
            "input_container_sas": "https://a.example/c?sig=SECRET",
            "images": ["a.jpg"],
        }


def test_how_far_a_task_is() -> None:
    said = {"TaskId": "3c1f", "Status": {"request_status": "odd", "message": "a ?b=c"}}
    with serving(says(said)) as web:
        assert client(web.url).ask("3c1f") == BatchStatus(
            task="3c1f", status="odd", said="a "
        )
        assert web.asked == ["/api/task/3c1f?sig=SECRET"]


def test_where_its_detections_are() -> None:
    urls = {"detections": "http://x/3c1f/d.json?key=1"}
    message = {"num_failed_shards": 2, "output_file_urls": urls}
    status = {"request_status": "completed", "message": message}
    with serving(says({"TaskId": "3c1f", "Status": status})) as web:
        assert client(web.url).ask("3c1f") == BatchResponse(
            task="3c1f", detections_url="http://x/3c1f/d.json?key=1", failed_shards=2
        )


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "reply",
    [
        says({"error": "no ?sig=SECRET"}, 503),
        says({}, 500),
        Reply(b"<html>SECRET", 502),
        says({}, 429),
        Reply(b"{", 200),
        Reply(b"[]", 200),
        Reply(b"", 200),
        Reply(b"x" * (1 << 21), 200),
        Reply(b"{}", 200, length=100),
    ],
)
def test_d38_what_may_be_another_answer_soon(
    call: Callable[[Client], object], reply: Reply
) -> None:
    with serving(reply) as web, pytest.raises(NoAnswerError) as failed:
        call(client(web.url))
    assert str(failed.value).startswith(f"{web.url}/api: ")
    assert "SECRET" not in str(failed.value)
    assert len(str(failed.value).splitlines()) == 1


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (says({"error": "no such ?sig=SECRET"}, 400), "HTTP 400: no such "),
        (says({"error": "x"}, 401), "HTTP 401: x (BATCH_DETECTION_API_TOKEN in the"),
        (says({"error": "two\nlines"}, 403), "HTTP 403: two\\nlines"),
        (
            Reply(b"", 302, (("Location", "http://127.0.0.1:1/?sig=SECRET"),)),
            "HTTP 302",
        ),
    ],
)
def test_what_the_service_will_not(
    call: Callable[[Client], object], reply: Reply, said: str
) -> None:
    with serving(reply) as web, pytest.raises(RefusedError) as failed:
        call(client(web.url))
    assert f"{web.url}/api: {said}" in str(failed.value)
    assert "SECRET" not in str(failed.value)
    assert len(web.asked) == 1


def test_a_task_that_is_not_there_may_be_back_but_an_address_is_not() -> None:
    with serving(says({"error": "none"}, 404)) as web:
        with pytest.raises(NoAnswerError):
            client(web.url).ask("3c1f")
        with pytest.raises(RefusedError):
            client(web.url).submit(REQUEST)


def test_the_original_says_no_with_an_error_alone() -> None:
    refusal = pytest.raises(RefusedError, match=r"/api: images  missing$")
    with serving(says({"error": "images ?sig=SECRET missing"})) as web, refusal:
        client(web.url).submit(REQUEST)


@pytest.mark.parametrize("task_id", [None, 7, "", "../x", "a/b", "x" * 129])
def test_an_id_that_is_none(task_id: object) -> None:
    refusal = pytest.raises(ArtifactError, match="the id of a task expected")
    with serving(says({"request_id": task_id})) as web, refusal:
        client(web.url).submit(REQUEST)


@pytest.mark.parametrize("call", CALLS)
def test_a_service_that_is_not_there(call: Callable[[Client], object]) -> None:
    with pytest.raises(NoAnswerError, match=r"127\.0\.0\.1:1/api: Connection ref"):
        call(client("http://127.0.0.1:1"))


def test_a_service_that_is_silent() -> None:
    late = Reply(b"{}", during=lambda: time.sleep(1))
    with serving(late) as web, pytest.raises(NoAnswerError, match="no answer in time"):
        Client(url=web.url, silence_s=0.2).ask("3c1f")


def test_neither_token_nor_address_is_in_its_text() -> None:
    one = client("http://127.0.0.1:1")
    assert "SECRET" not in f"{one} {one!r}"


@pytest.mark.parametrize("url", ["http://x:port", "http://a b/", "http://[::1"])
def test_an_address_that_is_none_is_not_tried_again(url: str) -> None:
    with pytest.raises(ConfigurationError, match="not an address of http or https"):
        Client(url=url).ask("3c1f")


@pytest.mark.parametrize("token", ["a b", "é", "a\nb"])
def test_a_token_that_fits_into_no_header(token: str) -> None:
    with pytest.raises(ConfigurationError, match="holds more than ASCII") as refused:
        Client(url="http://127.0.0.1:1", token=token).ask("3c1f")
    assert token not in str(refused.value)


def test_the_answer_of_another_task_is_none() -> None:
    said = {"TaskId": "other", "Status": {"request_status": "running"}}
    with (
        serving(says(said)) as web,
        pytest.raises(NoAnswerError, match="it is of other"),
    ):
        client(web.url).ask("3c1f")
