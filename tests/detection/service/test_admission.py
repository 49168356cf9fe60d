from __future__ import annotations

import ntpath
import socket
import time
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace
from typing import Any

import pytest

from classification.runtime.errors import ConfigurationError
from detection.service import admission as admissions
from detection.service.admission import Admission, RefusedError

PREFIX = "https://images.example/pub"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An allowed folder, with a link that leads out and one that stays."""
    root = tmp_path / "root"
    (root / "in").mkdir(parents=True)
    (root / "in/a.jpg").write_bytes(b"a")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.jpg").write_bytes(b"s")
    (tmp_path / "root2").mkdir()
    (tmp_path / "root2/a.jpg").write_bytes(b"a")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "out.jpg").symlink_to(tmp_path / "outside/secret.jpg")
    (root / "here").symlink_to(root / "in")
    (root / "loop").symlink_to(root / "loop")
    return root


@pytest.mark.parametrize(
    "name", ["in/a.jpg", "here/a.jpg", "gone.jpg", "a b.jpg", "é.jpg"]
)
def test_a_path_below_a_root_is_let_in(root: Path, name: str) -> None:
    admission = Admission.of([root], [])
    assert admission.resolve(f"{root}/{name}").is_relative_to(root)
    admission.check_all([f"{root}/{name}"])


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("{root}/out/secret.jpg", "in no --allow-root"),
        ("{root}/out.jpg", "in no --allow-root"),
        ("{root}2/a.jpg", "in no --allow-root"),
        ("/etc/passwd", "in no --allow-root"),
        ("/proc/self/environ", "in no --allow-root"),
        ("{root}/../root2/a.jpg", "holds '..'"),
        ("{root}/in/../in/a.jpg", "holds '..'"),
        ("{root}\\..\\a.jpg", "holds '..'"),
        ("in/a.jpg", "no absolute path"),
        ("~/a.jpg", "no absolute path"),
        ("", "no absolute path"),
        ("file://{root}/in/a.jpg", "only absolute paths"),
        ("FILE:{root}/in/a.jpg", "only absolute paths"),
        ("ftp://x/a.jpg", "only absolute paths"),
        ("gopher://x/a.jpg", "only absolute paths"),
        ("data:image/png;base64,AA", "only absolute paths"),
        ("C:\\a.jpg", "only absolute paths"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(
    root: Path, path: str, rule: str
) -> None:
    admission = Admission.of([root], [PREFIX])
    path = path.replace("{root}", str(root))
    for check in (
        admission.resolve,
        admission.check,
        lambda p: admission.check_all([p]),
    ):
        with pytest.raises(RefusedError) as refused:
            check(path)
        assert rule in str(refused.value)
        assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("last", ["a.jpg", "..", "x\\..\\a.jpg", "", "C:\\a.jpg"])
def test_in_a_long_list_each_is_checked(root: Path, last: str) -> None:
    admission = Admission.of([Path("/")], [])
    good = ["/a.jpg", f"{root}/in/a.jpg", f"{root}/in/b.jpg"]
    admission.check_all(good)
    path = f"{root}/in/{last}" if ".." in last else last
    with pytest.raises(RefusedError, match=r"^images\[3\]: "):
        admission.check_all([*good, path])


def test_a_link_late_in_a_list_is_followed(root: Path) -> None:
    names = ["in/a.jpg", "b.jpg", "out.jpg"]
    with pytest.raises(RefusedError, match=r"^images\[2\]: "):
        Admission.of([root], []).check_all([f"{root}/{name}" for name in names])


def test_a_link_in_a_circle_is_no_way_out(root: Path) -> None:
    assert Admission.of([root], []).resolve(f"{root}/loop/a.jpg").is_relative_to(root)


def test_a_root_may_be_a_link_itself(root: Path, tmp_path: Path) -> None:
    (tmp_path / "named").symlink_to(root)
    admission = Admission.of([tmp_path / "named"], [])
    for name in ("named/in/a.jpg", "root/in/a.jpg"):
        admission.check_all([f"{tmp_path}/{name}"])


@pytest.mark.parametrize(
    "url",
    [
        "https://images.example/pub",
        "https://images.example/pub/",
        "https://images.example/pub/a.jpg",
        "https://images.example/pub/a/b%20c.jpg?sv=1&sig=SECRET",
        "HTTPS://Images.Example:443/pub/a.jpg",
        "https://images.example/%70ub/a.jpg",
        "https://images.example/pub/a%252520b.jpg",
    ],
)
def test_an_address_below_a_prefix_is_let_in(url: str) -> None:
    Admission.of([], [PREFIX]).check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://images.example/pub/a.jpg",
        "https://images.example:8443/pub/a.jpg",
        "https://images.example/public/a.jpg",
        "https://images.example/PUB/a.jpg",
        "https://images.example/",
        "https://images.example.evil/pub/a.jpg",
        "https://images.example./pub/a.jpg",
        "https://evil.example/https://images.example/pub/a.jpg",
        "https://evil.example/?https://images.example/pub",
        "https://evil.example/#https://images.example/pub",
        "https://images.example@evil.example/pub/a.jpg",
        "https://images.example:443@evil.example/pub/a.jpg",
        "https://user:SECRET@images.example/pub/a.jpg",
        "https://images.example\\@evil.example/pub/a.jpg",
        "https://images.example%2eevil.example/pub/a.jpg",
        "https://images.example%00.evil/pub/a.jpg",
        "https://images.example/pub/../secret/a.jpg",
        "https://images.example/pub/%2e%2e/secret/a.jpg",
        "https://images.example/pub/%252e%252e/secret/a.jpg",
        "https://images.example/pub/.%2e/secret/a.jpg",
        "https://images.example/pub/..;x/secret/a.jpg",
        "https://images.example/pub/..%2fsecret/a.jpg",
        "https://images.example/pub%2f..%2fsecret/a.jpg",
        "https://images.example/pub/..%5csecret/a.jpg",
        "https://images.example/pub//a.jpg",
        "https://images.example//pub/a.jpg",
        "https://images.example/pub/./a.jpg",
        "https://images.example/pub/a b.jpg",
        "https://images.example/pub/a\r\nHost: evil.jpg",
        "https://images.exаmple/pub/a.jpg",  # noqa: RUF001 - a Cyrillic letter
        "https://images.example:99999/pub/a.jpg",
        "https://images.example:x/pub/a.jpg",
        "https:///pub/a.jpg",
        "https://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/pub",
        "http://0x7f000001/pub",
        "http://2852039166/latest",
        "https://[::1/pub/a.jpg",
    ],
)
def test_an_address_that_only_looks_so_is_refused(url: str) -> None:
    admission = Admission.of([Path("/")], [PREFIX])
    for check in (admission.check_url, lambda u: admission.check_all([u])):
        with pytest.raises(RefusedError) as refused:
            check(url)
        assert "SECRET" not in str(refused.value)
    assert not admission.may_ask(url)


def test_which_of_a_list_is_refused_is_said() -> None:
    admission = Admission.of([], [PREFIX])
    with pytest.raises(RefusedError, match=r"^images\[1\]: 'https://x/b' is below no "):
        admission.check_all([f"{PREFIX}/a.jpg", "https://x/b?sig=SECRET"])


def test_without_anything_allowed_nothing_is_let_in(root: Path) -> None:
    admission = Admission.of([], [])
    for where in (f"{root}/in/a.jpg", f"{PREFIX}/a.jpg"):
        with pytest.raises(RefusedError):
            admission.check(where)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fe80::1%25eth0]/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "ftp://x/",
        "file:///data",
        "images.example",
        "https://u:SECRET@images.example/",
        "https://images.example/pub?sig=SECRET",
        "https://images.example/../pub",
        "",
    ],
)
def test_some_prefixes_cannot_be_allowed(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Admission.of([], [url])
    assert "--allow-url" in str(refused.value)
    assert "SECRET" not in str(refused.value)


def test_a_root_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no such folder: .*--allow-root"):
        Admission.of([tmp_path / "gone"], [])


@pytest.mark.parametrize(
    ("address", "is_asked"),
    [
        ("127.0.0.1", True),
        ("10.0.0.1", True),
        ("169.254.169.254", False),
        ("fe80::1%eth0", False),
        ("::ffff:169.254.169.254", False),
        ("2002:a9fe:a9fe::", False),  # 6to4 of the same
    ],
)
def test_a_name_that_stands_for_a_link_local_address_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, address: str, is_asked: bool
) -> None:
    found: list[Any] = [(0, 0, 0, "", (address, 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert Admission.of([], [PREFIX]).may_ask(f"{PREFIX}/a.jpg") is is_asked


def test_a_name_that_only_a_proxy_knows_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert Admission.of([], [PREFIX]).may_ask(f"{PREFIX}/a.jpg")


def test_an_address_that_is_encoded_many_times_costs_little() -> None:
    admission = Admission.of([], ["http://127.0.0.1:9/ok"])
    admission.check_url("http://127.0.0.1:9/ok/100%2525.jpg")
    often = "http://127.0.0.1:9/ok/%" + "25" * 200_000 + "41.jpg"
    wide = "http://127.0.0.1:9/ok/" + "%2525" * 100_000
    admission.check_url(wide)
    began = time.process_time()
    with pytest.raises(RefusedError, match="percent-encoded many times over"):
        admission.check_url(often)
    assert time.process_time() - began < 0.5


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Admission:
    """A folder and a share that are let in, by the rules for paths of Windows."""
    monkeypatch.setattr(admissions, "Path", PureWindowsPath)
    monkeypatch.setattr(admissions, "os", SimpleNamespace(path=ntpath))
    roots = (r"C:\data", r"\\nas\photos")
    return Admission(roots=tuple(map(PureWindowsPath, roots)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "path",
    [
        r"C:\data\a.jpg",
        "c:/DATA/sub/a.jpg",
        r"\\nas\photos\2020\a.jpg",
        "//NAS/Photos/a.jpg",
    ],
)
def test_drives_and_shares_of_windows_are_paths(windows: Admission, path: str) -> None:
    windows.check(path)
    windows.check_all([path, path])


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        (r"D:\data\a.jpg", "in no --allow-root"),
        (r"C:\data2\a.jpg", "in no --allow-root"),
        (r"C:\data\..\secret.jpg", "holds '..'"),
        (r"C:\data\x/..\..\secret.jpg", "holds '..'"),
        (r"C:a.jpg", "only absolute paths"),
        (r"\data\a.jpg", "no absolute path"),
        ("/data/a.jpg", "no absolute path"),
        (r"\\.\C:\data\a.jpg", "in no --allow-root"),
        (r"\\?\UNC\evil\photos\a.jpg", "in no --allow-root"),
        ("file:///C:/data/a.jpg", "only absolute paths"),
        ("ftp://x/a.jpg", "only absolute paths"),
    ],
)
def test_on_windows_other_paths_are_refused(
    windows: Admission, path: str, rule: str
) -> None:
    for check in (windows.check, lambda p: windows.check_all([r"C:\data\a.jpg", p])):
        with pytest.raises(RefusedError, match=rule):
            check(path)


def test_a_share_that_a_stranger_names_is_never_asked(
    windows: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    path = SimpleNamespace(split=ntpath.split, realpath=asked.append)
    monkeypatch.setattr(admissions, "os", SimpleNamespace(path=path))
    for check in (windows.check, lambda p: windows.check_all([p])):
        with pytest.raises(RefusedError, match="in no --allow-root"):
            check(r"\\evil\photos\a.jpg")
    assert asked == []
