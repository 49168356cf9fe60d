"""Shows what this machine offers: torch, GPU, ONNX Runtime, installed extras, cache.

Reads nothing and writes nothing; prints a line for each fact to stdout. It works, and
says so, where torch or ONNX Runtime cannot be imported.

Example:
  check_device.py
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

from classification.runtime import cli, parallel, registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DISTRIBUTION = "cameratraps-classifier"

# A requirement's own name, and the extra it belongs to: `name>=1; extra == "x"`.
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+).*;.*extra\s*==\s*[\"'](?P<extra>[\w-]+)")


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    verbose: bool


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    return cli.Parser("check_device", __doc__, overwrite=False)


def run() -> None:
    """Prints the facts."""
    lines = (*_system(), *_torch(), *_onnxruntime(), *_extras())
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _system() -> Iterator[str]:
    yield f"{DISTRIBUTION}: {_version(DISTRIBUTION) or 'not installed'}"
    yield f"Python: {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield f"cores: {parallel.cores()}"
    yield f"cache folder: {registry.cache_folder()}"


def _torch() -> Iterator[str]:
    torch = _import("torch")
    if isinstance(torch, str):
        yield f"torch: {torch}"
        yield "device: cpu, for ONNX models alone"
        return
    yield f"torch: {torch.__version__}"
    cuda = torch.cuda.is_available()
    yield f"device: {'cuda:0' if cuda else 'cpu'}"
    yield f"CUDA that torch was built for: {torch.version.cuda or 'none'}"
    yield f"CUDA devices: {torch.cuda.device_count()}"
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        memory = facts.total_memory / 2**30
        yield f"  cuda:{index}: {facts.name}, {memory:.1f} GiB"
    yield f"cuDNN: {torch.backends.cudnn.version() if cuda else 'not in use'}"


def _onnxruntime() -> Iterator[str]:
    onnxruntime = _import("onnxruntime")
    if isinstance(onnxruntime, str):
        yield f"ONNX Runtime: {onnxruntime}"
        return
    yield f"ONNX Runtime: {onnxruntime.__version__}"
    yield f"  providers: {', '.join(onnxruntime.get_available_providers())}"


def _extras() -> Iterator[str]:
    """Yields a line per extra: installed, or what is missing of it."""
    for extra, packages in packages_by_extra().items():
        missing = [name for name in packages if _version(name) is None]
        state = f"missing {', '.join(missing)}" if missing else "installed"
        yield f"extra {extra}: {state}"


def packages_by_extra() -> dict[str, list[str]]:
    """Returns the packages of each extra, as the installed metadata says."""
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {}
    packages: dict[str, list[str]] = {}
    for requirement in requirements:
        if match := _REQUIREMENT.match(requirement):
            packages.setdefault(match["extra"], []).append(match["name"])
    return packages


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _import(module: str) -> Any:  # noqa: ANN401 - the module, or the reason why not
    try:
        return import_module(module)
    except (ImportError, OSError) as error:
        reason = cli.one_line(str(error))
        return f"cannot be imported ({reason})"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    cli.parse(build_parser(), Arguments(), argv)
    return cli.exit_code(run)


if __name__ == "__main__":
    raise SystemExit(main())
