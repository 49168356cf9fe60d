from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.artifacts import batch_request
from classification.artifacts.batch_request import BatchRequest
from classification.runtime.errors import ArtifactError
from tests.commands import ROOT

SAS = "https://a.example/c?sig=SECRET"
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


def test_the_golden_body_round_trips() -> None:
    body = (ROOT / "tests/golden/batch_request.json").read_bytes()
    request = batch_request.parse(body)
    assert request == BatchRequest(
        name="detect_for_classifier_caltech_5f0c21aa_task00",
        caller="jane",
        model_version="5a.0.0",
        place="/data/caltech",
        images=["cct_images/a.jpg", "cct_images/b.jpg"],
        threshold=0.1,
    )
    assert request.encode() + b"\n" == body


def test_what_the_original_s_clients_send() -> None:
    body = {
        "request_name": "detect_for_classifier_caltech_20201231_task00",
        "caller": "jane",
        "images_requested_json_sas": SAS,
        "input_container_sas": f"{SAS}2",
        "model_version": None,
        "use_url": False,
    }
    request = batch_request.from_dict(body)
    assert (request.list_url, request.place) == (SAS, f"{SAS}2")
    assert request.model_version == ""
    assert "SECRET" not in repr(request)


def test_a_request_with_its_images_has_no_list() -> None:
    fixed = BatchRequest(place="/a", list_url=SAS).with_images(["a.jpg"])
    assert fixed == BatchRequest(place="/a", images=["a.jpg"])


@given(
    place=TEXTS,
    images=st.lists(TEXTS.filter(bool), min_size=1, max_size=5),
    caller=TEXTS,
    threshold=st.none() | st.floats(0, 1),
)
def test_what_is_encoded_is_parsed_equal(
    place: str, images: list[str], caller: str, threshold: float | None
) -> None:
    request = BatchRequest(
        name="x", caller=caller, place=place, images=images, threshold=threshold
    )
    assert batch_request.parse(request.encode()) == request


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "names no images; give images, images_dir, input_container_sas or"),
        ({"request_name": "x"}, "names no images"),
        ({"images": []}, "images: a list of 1 to 1000000 images expected"),
        ({"images": {}}, "images: a list of 1"),
        ({"images": ["a", 7]}, "images[1]: a text of at most 4096 characters"),
        ({"images": [""]}, "images[0]: an empty text"),
        ({"images": ["x" * 4097]}, "images[0]: a text of at most 4096"),
        ({"images": ["\udc80"]}, "images[0]: half of a character"),
        ({"images_dir": 7}, "images_dir: a text"),
        ({"images_dir": "a\0"}, "images_dir: a text"),
        (
            {"images_dir": "/a", "input_container_sas": SAS},
            "input_container_sas: stands beside images_dir; give one of them",
        ),
        (
            {"images": ["/a"], "images_requested_json_sas": SAS},
            "images_requested_json_sas: stands beside images; give one of them",
        ),
        ({"images_dir": "/a", "request_name": "x" * 93}, "request_name: at most 92"),
        ({"images_dir": "/a", "request_name": "a b"}, "request_name: at most 92"),
        ({"images_dir": "/a", "request_name": "a\n"}, "request_name: at most 92"),
        ({"images_dir": "/a", "caller": ["x"]}, "caller: a text"),
        ({"images_dir": "/a", "threshold": "0.5"}, "threshold: a number in [0, 1]"),
        ({"images_dir": "/a", "threshold": 1.5}, "threshold: a number in [0, 1]"),
        ({"images_dir": "/a", "threshold": True}, "threshold: a number in [0, 1]"),
    ],
)
def test_what_breaks_the_format(document: object, message: str) -> None:
    with pytest.raises(ArtifactError) as refused:
        batch_request.parse(json.dumps(document).encode())
    assert str(refused.value).startswith(message)
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"7", b"\xff", b'{"a": NaN}'])
def test_what_is_no_object(body: bytes) -> None:
    with pytest.raises(ArtifactError):
        batch_request.parse(body)


def test_more_images_than_a_task_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_request, "MOST_IMAGES", 2)
    with pytest.raises(ArtifactError, match="images: a list of 1 to 2 images"):
        batch_request.from_dict({"images": ["/a", "/b", "/c"]})
