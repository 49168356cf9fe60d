from __future__ import annotations

import argparse

import pytest

from detection import detectors, flags


class Arguments(argparse.Namespace):
    trust_model: bool = True
    batch_size: int
    loader_workers: int
    ncores: int | None
    image_size: int | None
    head: str | None
    device: str


def parse(line: str) -> Arguments:
    parser = argparse.ArgumentParser()
    flags.add_speed(parser)
    return parser.parse_args(line.split(), Arguments())


def test_without_flags_the_model_decides() -> None:
    args = parse("")
    assert args.batch_size == 1
    assert args.loader_workers >= 2
    assert flags.engine_of(args) == detectors.Options(trust_model=True)


def test_the_detector_is_run_as_they_say() -> None:
    args = parse("--ncores 3 --image_size 640 --head yolov8 --device 1")
    assert flags.engine_of(args) == detectors.Options(
        trust_model=True, device="cuda:1", threads=3, image_size_px=640, head="yolov8"
    )


def test_no_detector_needs_a_size_of_more() -> None:
    assert flags.image_size("8192") == 8192
    with pytest.raises(argparse.ArgumentTypeError, match="8193 px are more than 8192"):
        flags.image_size("8193")
