from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification import merge_shards
from classification.artifacts import detections, shard_record
from classification.artifacts.detections import Header
from classification.runtime.shards import Shard

if TYPE_CHECKING:
    from pathlib import Path

HEADER = Header(detection_categories={"1": "animal"}, info={"format_version": "1.6"})


@pytest.fixture
def output(tmp_path: Path) -> Path:
    output = tmp_path / "o.json"
    for number in (1, 2):
        shard = Shard(number, 2)
        path, span = shard.path(output), shard.span(4)
        images = [
            b'{"file":"%d.jpg","detections":null,"failure":"x"}' % n for n in span
        ]
        detections.write(path, HEADER, images)
        failed = 1
        shard_record.tell(
            path, shard, step="s", run="ab", span=span, total=4, failed=failed
        )
    return output


def run(*words: object) -> int:
    return merge_shards.main([str(word) for word in words])


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_shards_become_one_file(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(output) == 0
    assert last_line(capsys) == f"{output}: 4 items of 2 shards, 2 of them failed"
    assert detections.open_file(output).image_count == 4
    assert len(list(output.parent.iterdir())) == 5
    assert run(output, "--remove-shards") == 0
    assert list(output.parent.iterdir()) == [output]


def test_a_missing_shard_is_named_in_one_line(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Shard(2, 2).path(output).unlink()
    assert run(output) == 1
    assert last_line(capsys) == (
        f"error: of 2 shards of {output}, 2 missing; run them again, each goes on where "
        "it was"
    )
    assert not output.exists()


def test_too_many_failures_exit_4_after_the_output_is_written(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(output, "--max-failures", 1) == 4
    assert last_line(capsys) == "error: 2 of 4 items failed; --max-failures allows 1"
    assert output.exists()
