from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.runtime import cli, shards
from classification.sharding import flags
from classification.sharding.cluster import Job

if TYPE_CHECKING:
    from collections.abc import Sequence


def job(argv: Sequence[str]) -> Job | None:
    parser = cli.Parser("x", __doc__)
    shards.add_shard(parser, "into files")
    flags.add_cluster(parser)
    args = parser.parse_args(argv)
    return flags.job_of(args, parser, "a.x", argv, device="auto")  # type: ignore[arg-type]  # a namespace


def test_by_default_this_machine_works() -> None:
    assert job([]) is None
    assert job(["--shard", "1/2"]) is None


def test_a_cluster_gets_the_users_words() -> None:
    argv = ["--engine", "ray", "--ray-cpus", "2", "--ray_shards", "7"]
    made = job(argv)
    assert made == Job(
        module="a.x", argv=argv, shards=7, device="auto", address=None, cpus=2
    )
    assert made.step == "x"


def test_a_cluster_runs_all_shards(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        job(["--engine", "ray", "--shard", "1/2"])
    assert "the cluster runs all shards" in capsys.readouterr().err
