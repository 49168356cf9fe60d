"""Turning a page model into HTML."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING

import jinja2
import pytest

from classification.reports import render
from classification.reports.detections_page import (
    TEMPLATE,
    Failure,
    LinkedFile,
    Page,
    Step,
)

if TYPE_CHECKING:
    from pathlib import Path


def html(**parts: object) -> str:
    page = Page(title="A page", lead="", pictures=(), box_threshold=0.3, **parts)  # type: ignore[arg-type]  # whatever a test wants
    return render.render(TEMPLATE, page).decode()


def test_a_page_is_whole_and_fetches_nothing() -> None:
    text = html()
    assert text.startswith("<!doctype html>")
    assert text.endswith("</html>\n")
    assert not re.search(r"<script|https?:|url\(|@import|<link", text)


def test_the_policy_allows_just_the_stylesheet() -> None:
    text = html()
    css = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)
    assert css
    assert policy
    digest = base64.b64encode(hashlib.sha256(css[1].encode()).digest()).decode()
    assert policy[1].replace("&#39;", "'") == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert "style=" not in text


def test_the_policy_allows_the_scripts_that_a_page_names() -> None:
    page = Page(title="A page", lead="", pictures=(), box_threshold=0.3)
    text = render.render(TEMPLATE, page, scripts=("tables.js",)).decode()
    (code,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;;" in text
    assert "unsafe" not in text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("\"'><img src=x onerror=alert(1)>", "&#34;&#39;&gt;&lt;img src=x"),
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
        ("two\nlines\x00", "two\\nlines\\x00"),
        ("lone \udcff", "lone \\udcff"),
        ("צבי.jpg", "צבי.jpg"),
        ("{{ page.title }}", "{{ page.title }}"),
    ],
)
def test_a_hostile_name_is_text(name: str, shown: str) -> None:
    text = html(failures=(Failure(name, "truncated"),))
    assert f"<bdi>{shown}" in text


def test_a_link_stays_beside_the_page() -> None:
    text = html(files=(LinkedFile('a b"<.json', ""), LinkedFile("javascript:x", "")))
    assert 'href="./a%20b%22%3C.json"' in text
    assert 'href="./javascript%3Ax"' in text


def test_commands_are_shown_as_they_are() -> None:
    text = html(steps=(Step("Detect", "ct-run-detector-batch 'a b' > x"),))
    code = re.search(r"<code>(.*?)</code>", text)
    assert code
    shown = re.sub("</?span>", "", code[1])
    assert shown == "ct-run-detector-batch &#39;a b&#39; &gt; x"


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0, "0%"),
        (0.001, "<1%"),
        (0.01, "1%"),
        (0.5, "50%"),
        (0.99, "99%"),
        (0.996, ">99%"),
        (1, "100%"),
    ],
)
def test_percent(fraction: float, text: str) -> None:
    assert render.percent(fraction) == text


def test_a_name_that_the_model_lacks_is_a_bug() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render.render(TEMPLATE, object())


def test_writes_the_file_whole(tmp_path: Path) -> None:
    page = Page(title="A page", lead="", pictures=(), box_threshold=0.3)
    path = tmp_path / "new" / "index.html"
    render.write(path, TEMPLATE, page)
    assert path.read_bytes() == render.render(TEMPLATE, page)
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]
