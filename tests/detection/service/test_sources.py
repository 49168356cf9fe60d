from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from classification.artifacts.batch_request import BatchRequest
from classification.runtime.errors import ArtifactError, ItemError, PipelineError
from classification.storage.places import Manner
from classification.storage.retrying import Patience
from detection.service import sources
from detection.service.admission import Admission, RefusedError
from tests.web import Reply, serving, serving_folder

if TYPE_CHECKING:
    from pathlib import Path

    from tests.azurite import Azurite

MANNER = Manner(patience=Patience(silence_s=5, tries=1))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("b.jpg", "a b.png", "sub/c.jpg", "notes.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.jpg").write_bytes(b"secret")
    return root


def read_all(request: BatchRequest, admission: Admission) -> dict[str, bytes | str]:
    """Returns what each image of a fixed request holds, or why it cannot be read."""
    found: dict[str, bytes | str] = {}
    with sources.opened(request, admission, MANNER) as (images, store):
        for image in images:
            try:
                found[image.name] = store.read(image.path)
            except ItemError as error:
                found[image.name] = str(error)
    return found


def test_a_folder_means_all_images_in_it_named_below_it(root: Path) -> None:
    admission = Admission.of([root], [])
    request = BatchRequest(place=str(root))
    sources.check(request, admission)
    fixed = sources.fix(request, admission)
    (root / "later.jpg").write_bytes(b"x")
    assert sources.fix(fixed, admission) is fixed
    assert read_all(fixed, admission) == {
        "a b.png": b"a b.png",
        "b.jpg": b"b.jpg",
        "sub/c.jpg": b"sub/c.jpg",
    }


def test_nothing_outside_is_listed_or_read(root: Path, tmp_path: Path) -> None:
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "out.jpg").symlink_to(tmp_path / "outside/secret.jpg")
    admission = Admission.of([root], [])
    fixed = sources.fix(BatchRequest(place=str(root)), admission)
    assert "out/secret.jpg" not in fixed.images
    assert read_all(fixed, admission)["out.jpg"] == "leads to where nobody may look"


def test_a_link_that_is_put_there_later_is_not_followed(
    root: Path, tmp_path: Path
) -> None:
    admission = Admission.of([root], [])
    request = BatchRequest(place=str(root), images=["b.jpg", "sub/c.jpg"])
    sources.check(request, admission)
    (root / "sub/c.jpg").unlink()
    (root / "sub").rmdir()
    (root / "sub").symlink_to(tmp_path / "outside")
    (tmp_path / "outside/c.jpg").write_bytes(b"secret")
    assert read_all(request, admission) == {
        "b.jpg": b"b.jpg",
        "sub/c.jpg": "leads to where nobody may look",
    }


def test_paths_and_addresses_may_stand_together(root: Path) -> None:
    with serving_folder(root) as web:
        admission = Admission.of([root], [web.url])
        images = [
            f"{web.url}/a%20b.png?sig=SECRET",
            f"{root}/b.jpg",
            f"{root}/gone.jpg",
        ]
        request = BatchRequest(images=images)
        sources.check(request, admission)
        assert read_all(request, admission) == {
            f"{root}/b.jpg": b"b.jpg",
            f"{root}/gone.jpg": "no such file",
            f"{web.url}/a%20b.png": b"a b.png",
        }
        assert web.asked == ["/a%20b.png?sig=SECRET"]


def test_names_below_an_address(root: Path) -> None:
    with serving_folder(root) as web:
        admission = Admission.of([], [web.url])
        place = f"{web.url}?sig=SECRET"
        request = BatchRequest(place=place, images=["sub/c.jpg", "a b.png", "gone.jpg"])
        sources.check(request, admission)
        assert read_all(request, admission) == {
            "a b.png": b"a b.png",
            "gone.jpg": "no such file",
            "sub/c.jpg": b"sub/c.jpg",
        }
        assert min(web.asked) == "/a%20b.png?sig=SECRET"


def test_a_list_is_fetched_once_and_checked(root: Path) -> None:
    (root / "list.json").write_text(json.dumps(["b.jpg", "sub/c.jpg"]))
    with serving_folder(root) as web:
        admission = Admission.of([root], [web.url])
        request = BatchRequest(
            place=str(root), list_url=f"{web.url}/list.json?sig=SECRET"
        )
        sources.check(request, admission)
        fixed = sources.fix(request, admission, MANNER)
        assert list(fixed.images) == ["b.jpg", "sub/c.jpg"]
        assert fixed.list_url == ""
        assert web.asked == ["/list.json?sig=SECRET"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"no JSON", "/list.json: not JSON"),
        (b"[]", "/list.json: the list is empty"),
        (b"[7]", "/list.json: [0]: expected the name of a file"),
        (b'["../a.jpg"]', "images[0]: '../a.jpg' leaves its folder"),
        (b'["/etc/passwd"]', "images[0]: '/etc/passwd' is absolute"),
    ],
)
def test_a_list_that_cannot_be_used(root: Path, body: bytes, message: str) -> None:
    with serving(Reply(body)) as web:
        admission = Admission.of([root], [web.url])
        request = BatchRequest(
            place=str(root), list_url=f"{web.url}/list.json?sig=SECRET"
        )
        with pytest.raises(PipelineError) as refused:
            sources.fix(request, admission, MANNER)
        assert message in str(refused.value)
        assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:1/other.jpg",
        "{url}/elsewhere/b.jpg",
        "//169.254.169.254/latest",
        "file:///etc/passwd",
        "ftp://127.0.0.1/a",
    ],
)
def test_a_redirect_leads_no_further(root: Path, target: str) -> None:
    def redirect(web_url: str) -> Reply:
        location = target.replace("{url}", web_url)
        return Reply(b"", 302, (("Location", location),))

    with serving(Reply(b"secret")) as other, serving(redirect(other.url)) as web:
        admission = Admission.of([root], [f"{web.url}/pub"])
        images = [f"{web.url}/pub/a.jpg", f"{web.url}/pub/b.jpg"]
        found = read_all(BatchRequest(images=images), admission)
        assert all(isinstance(one, str) for one in found.values()), found
        request = BatchRequest(place=str(root), list_url=f"{web.url}/pub/list.json")
        with pytest.raises(PipelineError):
            sources.fix(request, admission, MANNER)
        assert other.asked == []
        assert set(web.asked) <= {"/pub/a.jpg", "/pub/b.jpg", "/pub/list.json"}


def test_a_redirect_within_what_is_allowed_is_followed() -> None:
    moved = Reply(b"", 302, (("Location", "/pub/there.jpg"),))
    with serving(moved, Reply(b"image")) as web:
        admission = Admission.of([], [f"{web.url}/pub"])
        request = BatchRequest(images=[f"{web.url}/pub/a.jpg"])
        assert list(read_all(request, admission).values()) == [b"image"]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (BatchRequest(place="/root/gone"), "images_dir: no such folder"),
        (
            BatchRequest(
                images=["https://a.example/pub/i?1", "https://a.example/pub/i?2"]
            ),
            "2 addresses are 'https://a.example/pub/i' without their queries",
        ),
        (BatchRequest(place="/root", images=["a\\b.jpg"]), "images[0]: "),
        (BatchRequest(place="/root", images=["sub/"]), "images[0]: "),
    ],
)
def test_what_cannot_be_meant(root: Path, request_: BatchRequest, message: str) -> None:
    admission = Admission.of([root], ["https://a.example/pub"])
    place = request_.place.replace("/root", str(root), 1)
    request = BatchRequest(place=place, images=request_.images)
    with pytest.raises(ArtifactError) as refused:
        sources.check(request, admission)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    "request_",
    [
        BatchRequest(place="/etc"),
        BatchRequest(place="https://b.example/x", images=["a.jpg"]),
        BatchRequest(images=["/etc/a.jpg"]),
        BatchRequest(list_url="https://b.example/list.json"),
        BatchRequest(list_url="file:///etc/list.json"),
        BatchRequest(place="file:///etc"),
    ],
)
def test_what_is_not_let_in(root: Path, request_: BatchRequest) -> None:
    with pytest.raises(RefusedError):
        sources.check(request_, Admission.of([root], ["https://a.example/pub"]))


def test_an_empty_folder_has_no_images(root: Path) -> None:
    (root / "empty").mkdir()
    with pytest.raises(ArtifactError, match="no images in"):
        sources.fix(BatchRequest(place=f"{root}/empty"), Admission.of([root], []))


def test_a_container_means_all_images_in_it(emulator: Azurite) -> None:
    blobs = {"pub/a/1.jpg": b"one", "pub/2.JPG": b"two", "pub/notes.txt": b"x"}
    place = emulator.with_token(emulator.container("sources", blobs | {"3.jpg": b"x"}))
    place = place.replace("/sources?", "/sources/pub?")
    request = BatchRequest(place=place)
    admission = Admission.of([], [place.partition("?")[0]])
    fixed = sources.fix(request, admission, MANNER)
    assert read_all(fixed, admission) == {"2.JPG": b"two", "a/1.jpg": b"one"}
    elsewhere = Admission.of([], [place.partition("?")[0] + "/a"])
    with pytest.raises(RefusedError):
        sources.check(request, elsewhere)
    with pytest.raises(RefusedError):
        sources.fix(request, elsewhere, MANNER)


def test_a_list_of_a_container_that_leads_elsewhere_is_not_followed() -> None:
    with serving(Reply(b"secret")) as other:
        elsewhere = (("Location", f"{other.url}/c"),)
        with serving(Reply(status=302, headers=elsewhere)) as web:
            admission = Admission.of([], [web.url])
            with pytest.raises(PipelineError, match="HTTP 302"):
                sources.fix(BatchRequest(place=f"{web.url}/c"), admission, MANNER)
        assert other.asked == []


def test_whether_an_image_is_there(root: Path) -> None:
    with serving_folder(root) as web:
        admission = Admission.of([root], [web.url])
        for place, names in (
            (str(root), ("b.jpg", "gone.jpg", "../outside/secret.jpg")),
            (web.url, ("b.jpg", "gone.jpg", "../b.jpg")),
            ("", (f"{web.url}/b.jpg", f"{web.url}/gone.jpg", "/etc/passwd")),
        ):
            store = sources.AdmittedStore(place, admission, MANNER)
            assert [store.exists(name) for name in names] == [True, False, False]
