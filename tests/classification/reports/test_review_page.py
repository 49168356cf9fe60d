"""What the review page is made of."""

from __future__ import annotations

from dataclasses import replace

from classification.reports import render
from classification.reports.review_page import (
    LABELS,
    SCRIPTS,
    TEMPLATE,
    Entry,
    Page,
    Sighting,
    Subject,
    View,
    digest,
)

SUBJECT = Subject(
    image="ds/a.jpg",
    dataset="ds",
    label="elk",
    sightings=(Sighting(name="ds/a.jpg___crop00.jpg", predicted="cow"),),
)


def page(*entries: Entry, **parts: object) -> str:
    model = Page(wording=LABELS, entries=entries, **parts)  # type: ignore[arg-type]  # whatever a test wants
    return render.render(TEMPLATE, model, scripts=SCRIPTS).decode()


def missing(subject: Subject) -> Entry:
    views = tuple(View(one, None, "no such file") for one in subject.sightings[:1])
    return Entry(subject, views)


def test_the_digest_is_that_of_images_and_labels() -> None:
    same = replace(SUBJECT, suggestion="cow", location="13")
    assert digest([SUBJECT]) == digest([same])
    others = [replace(SUBJECT, image="ds/b.jpg"), replace(SUBJECT, label="cow")]
    assert len({digest([one]) for one in [SUBJECT, *others]}) == 3
    assert digest([SUBJECT, others[0]]) != digest([others[0], SUBJECT])


def test_what_the_script_reads_is_exact_and_ends_no_script() -> None:
    name = "ds/</script><!--\u202e.jpg"
    subject = replace(SUBJECT, image=name)
    html = page(missing(subject))
    (entry,) = Page(wording=LABELS, entries=(missing(subject),)).data["subjects"]
    assert entry["image"] == name
    assert "<!--" not in html
    assert html.count("</script>") == len(SCRIPTS) + 1


def test_a_missing_picture_is_listed_with_its_reason() -> None:
    html = page(missing(SUBJECT))
    assert '<div class="picture gone">no picture: <bdi>no such file</bdi></div>' in html
    assert "<td><bdi>ds/a.jpg___crop00.jpg</bdi></td><td><bdi>no such file" in html
    assert "1 of them; a placeholder" in html


def test_what_is_left_out_is_counted_and_named() -> None:
    names = tuple(f"ds/{n}.jpg" for n in range(150))
    html = page(missing(SUBJECT), skipped=7, left_out=names, left_out_count=4000)
    assert "<p>7 before the first one (--skip 7).</p>" in html
    assert "<p>4000 after the last one; <code>--skip 8</code>" in html
    assert "The next 100 of them" in html
    assert "ds/99.jpg" in html
    assert "ds/100.jpg" not in html


def test_sightings_without_a_picture_are_counted() -> None:
    many = replace(SUBJECT, sightings=SUBJECT.sightings * 6)
    assert missing(many).unseen == 5
    assert "<dd>6 of this image, 5 not shown</dd>" in page(missing(many))


def test_a_page_of_nothing_says_so() -> None:
    assert "There is nothing to review." in page()


def test_the_same_page_has_the_same_bytes() -> None:
    assert page(missing(SUBJECT)) == page(missing(SUBJECT))
