from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from classification.cropping import flags
from classification.cropping.cut import Shape
from classification.cropping.harvest import Settings
from classification.runtime import cli, parallel

if TYPE_CHECKING:
    from classification.cropping.flags import CropArguments


class Arguments(argparse.Namespace):
    square_crops: bool
    reference_squares: bool
    ignore_exif: bool
    jpeg_quality: int
    max_pixels: int
    check_crops_valid: bool
    threads: int
    threshold: float


def parse(*words: str) -> Arguments:
    parser = cli.Parser("test", "test")
    flags.add_shape(parser)
    flags.add_cutting(parser)
    return parser.parse_args(words, namespace=Arguments())


def test_without_flags_crops_are_cut_as_harvest_does() -> None:
    args: CropArguments = parse()
    assert flags.settings_of(args) == Settings()


def test_each_flag_is_a_setting() -> None:
    words = "--ignore-exif --jpeg-quality 90 --max-pixels 9 --check-crops-valid -t 0.5"
    args = parse(*words.split())
    assert args.threshold == 0.5
    assert flags.settings_of(args) == Settings(
        jpeg_quality=90, max_pixels=9, apply_exif=False, check_existing=True
    )


@pytest.mark.parametrize(
    ("words", "shape"),
    [
        ([], Shape.RECTANGLE),
        (["--square-crops"], Shape.SQUARE),
        (["--reference-squares"], Shape.REFERENCE_SQUARE),
        (["--square-crops", "--reference-squares"], Shape.REFERENCE_SQUARE),
    ],
)
def test_the_shape(words: list[str], shape: Shape) -> None:
    assert flags.settings_of(parse(*words)).shape is shape


def test_threads_are_no_more_than_the_cores() -> None:
    many = parse("-n", "5000")
    assert flags.threads_of(many, are_distant=False) == parallel.cores()
    assert flags.threads_of(many, are_distant=True) == 5000
    assert flags.threads_of(parse("-n", "1"), are_distant=False) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--jpeg-quality", "101"], "101 is more than 100"),
        (["--jpeg-quality", "0"], "0 is not a whole number above 0"),
        (["-t", "1.5"], "1.5 is not between 0 and 1"),
        (["-n", "0"], "0 is not a whole number above 0"),
    ],
)
def test_what_is_out_of_range_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(*words)
    assert message in capsys.readouterr().err
