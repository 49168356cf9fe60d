"""Looks through a TorchScript archive before torch sees it.

A TorchScript file is a zip of tensors, of pickles that torch's own small unpickler
reads, and of source code that runs when the file is loaded (``__setstate__``) or used
(``forward``). TorchScript can write files (``torch.save``, ``torch.from_file``) and
reach other machines (``ops.prim.rpc_async``), so a model from elsewhere is a program
from elsewhere. Here the archive is read without torch:

* entries must be the plain ones of such an archive, each once, none a decompression bomb;
* the source is parsed, and every operation in it must be one that a network needs;
* pickles may name nothing but tensors and the classes of the archive itself.

``rebuild`` then returns a new archive, written from the checked parse trees and bytes
alone: what was checked is what is loaded.
"""

from __future__ import annotations

import ast
import io
import pickletools
import re
import zipfile
from typing import TYPE_CHECKING, NoReturn

from classification.modeling import torchscript_operations as operations
from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Only code and pickles are ever compressed; a network's are far below this.
MAX_COMPRESSED_ENTRY_BYTES = 64 << 20
MAX_SOURCE_BYTES = 16 << 20  # an EfficientNet-B7's is half a megabyte

_OVERRIDE = "--trust-model loads it unchecked, which runs whatever it says"
_KEPT = re.compile(
    r"(?:\.data/)?version|byteorder|data\.pkl|constants\.pkl|(?:data|constants)/\d+"
    r"|code/__torch__(?:/\w+)*\.py"
)
_DROPPED = re.compile(
    r"code/.+\.debug_pkl|traced_inputs(?:\.pkl|/\d+)|extra/.+|\.data/serialization_id"
    r"|\.format_version|\.storage_alignment|bytecode\.pkl|bytecode/\d+"
    r"|mobile_debug_handles\.pkl"
)
_VERSIONS = ("version", ".data/version")  # older archives, newer ones
_SOURCE = re.compile(r"code/(?P<module>__torch__(?:/\w+)*)\.py")


def is_torchscript(data: bytes) -> bool:
    """Says whether these are the bytes of a TorchScript archive, good or bad."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, EOFError):
        return False
    inner = {name.partition("/")[2] for name in names}
    return "constants.pkl" in inner or any(name.startswith("code/") for name in inner)


def rebuild(data: bytes) -> bytes:
    """Checks an archive, and writes it anew from what was checked.

    Args:
        data: the bytes of a TorchScript file.

    Returns:
        The bytes of a TorchScript file that computes the same.

    Raises:
        ModelError: no such archive, or something in it is not let in; names it.
    """
    entries = _read_entries(data)
    try:
        source = _checked_source(entries)
    except RecursionError:
        _refuse("source that is nested too deeply")
    return _write(entries | source)


def _checked_source(entries: Mapping[str, bytes]) -> dict[str, bytes]:
    """Checks source and pickles; returns the source written anew, by entry."""
    trees = {
        name: _parse(name, text) for name, text in entries.items() if _module(name)
    }
    classes = {
        f"{_module(name)}.{node.name}"
        for name, tree in trees.items()
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }
    for name, tree in trees.items():
        _Checker(name).check(tree)
    for name in ("data.pkl", "constants.pkl"):
        _check_pickle(name, entries[name], classes)
    return {name: ast.unparse(tree).encode() + b"\n" for name, tree in trees.items()}


def _read_entries(data: bytes) -> dict[str, bytes]:
    """Returns the entries that a network needs, without the archive's own folder."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            kept = dict(_checked_entries(archive))
            entries = {name: archive.read(info) for name, info in kept.items()}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, ValueError) as error:
        raise ModelError(f"damaged TorchScript archive: {error}") from error
    except (NotImplementedError, RuntimeError) as error:
        raise ModelError(f"odd TorchScript archive: {error}") from error
    for name in ("data.pkl", "constants.pkl"):
        if name not in entries:
            raise ModelError(
                f"no TorchScript of torch 1.4 or later: the archive has no {name}"
            )
    source_bytes = sum(len(text) for name, text in entries.items() if _module(name))
    if source_bytes > MAX_SOURCE_BYTES:
        _refuse(f"more than {MAX_SOURCE_BYTES} bytes of source")
    versions = [entries[name] for name in _VERSIONS if name in entries]
    if not versions or not all(re.fullmatch(rb"\d{1,3}\n?", v) for v in versions):
        raise ModelError("odd TorchScript archive: no version number")
    return entries


def _checked_entries(
    archive: zipfile.ZipFile,
) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    seen: set[str] = set()
    folders: set[str] = set()
    for info in archive.infolist():
        folder, _, name = info.filename.partition("/")
        folders.add(folder)
        if info.filename in seen or len(folders) > 1:
            _refuse(f"the entry {info.filename!r}: in no TorchScript archive twice")
        seen.add(info.filename)
        if _KEPT.fullmatch(name):
            _check_size(info)
            yield name, info
        elif not _DROPPED.fullmatch(name):
            _refuse(f"the entry {info.filename!r}: not of a TorchScript archive")


def _check_size(info: zipfile.ZipInfo) -> None:
    compressed = info.compress_type != zipfile.ZIP_STORED
    if compressed and info.file_size > MAX_COMPRESSED_ENTRY_BYTES:
        _refuse(
            f"the entry {info.filename!r}: {info.file_size} bytes when unpacked; a "
            "decompression bomb"
        )


def _write(entries: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(f"model/{name}"), content)
    return buffer.getvalue()


def _module(entry: str) -> str | None:
    """Returns the qualified module name of a source entry, None for another entry."""
    match = _SOURCE.fullmatch(entry)
    return match["module"].replace("/", ".") if match else None


def _parse(entry: str, text: bytes) -> ast.Module:
    try:
        return ast.parse(text.decode("ascii"))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ModelError(
            f"{entry}: not TorchScript source: {error}; {_OVERRIDE}"
        ) from error


def _refuse(what: str) -> NoReturn:
    raise ModelError(f"refused for {what}; {_OVERRIDE}")


# --- source ---------------------------------------------------------------------


class _Checker:
    """Goes through the source of one module and refuses what no network needs."""

    def __init__(self, entry: str) -> None:
        self._entry = entry

    def check(self, tree: ast.Module) -> None:
        """Checks the whole module.

        Raises:
            ModelError: names the line and what it holds.
        """
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                self._check_class(node)
            elif isinstance(node, ast.FunctionDef):
                self._check_function(node)
            elif not _is_version_line(node):
                self._refuse(node, "a statement outside functions")

    def _refuse(self, node: ast.AST, what: str) -> NoReturn:
        _refuse(f"{what} ({self._entry} line {getattr(node, 'lineno', 1)})")

    def _check_class(self, node: ast.ClassDef) -> None:
        bases = {base.id if isinstance(base, ast.Name) else "?" for base in node.bases}
        if not bases <= operations.BASES or node.keywords or node.decorator_list:
            self._refuse(node, f"the class {node.name}, which is no module")
        for item in node.body:
            if isinstance(item, ast.FunctionDef):
                self._check_function(item)
            elif isinstance(item, (ast.AnnAssign, ast.Assign, ast.Pass)):
                self._check_tree(item, set(operations.CLASS_NAMES) | _stored(item))
            else:
                self._refuse(item, "a statement outside functions")

    def _check_function(self, node: ast.FunctionDef) -> None:
        # A method of such a name would hide the operation from the check of calls.
        self._check_attribute(node, node.name)
        if node.decorator_list:
            self._refuse(node, "a decorator")
        local = {name.arg for name in ast.walk(node) if isinstance(name, ast.arg)}
        local |= _stored(node)
        if hidden := local & operations.ROOTS:
            self._refuse(node, f"the variable {min(hidden)}")
        for child in ast.iter_child_nodes(node):
            self._check_tree(child, local)

    def _check_tree(self, tree: ast.AST, local: set[str]) -> None:
        chained: set[ast.AST] = set()
        for node in ast.walk(tree):
            if not isinstance(node, operations.SYNTAX):
                self._refuse(node, f"{type(node).__name__}, which TorchScript has not")
            if isinstance(node, ast.Attribute) and node not in chained:
                self._check_chain(node, chained)
            elif isinstance(node, ast.Name) and node not in chained:
                self._check_name(node, local)
            elif isinstance(node, ast.Constant):
                self._check_constant(node)
            elif isinstance(node, ast.Call):
                self._check_call(node)

    def _check_chain(self, node: ast.Attribute, chained: set[ast.AST]) -> None:
        """Checks ``a.b.c`` as one; adds the nodes inside it to ``chained``."""
        names: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            names.insert(0, inner.attr)
            chained.add(inner)
            inner = inner.value
        if isinstance(inner, ast.Name) and inner.id in operations.ROOTS:
            chained.add(inner)
            self._check_global(node, inner.id, names)
        else:
            for name in names:
                self._check_attribute(node, name)

    def _check_global(self, node: ast.AST, root: str, names: list[str]) -> None:
        full = ".".join([root, *names])
        if root == "torch":
            good = len(names) == 1 and names[0] in operations.TENSOR
        elif root == "ops":
            good = full in operations.NAMESPACED
        elif root == "CONSTANTS":
            good = re.fullmatch(r"c\d+", names[0]) is not None
            for name in names[1:]:
                self._check_attribute(node, name)
        else:
            good = names[:2] != ["torch", "classes"]
        if not good:
            self._refuse(node, f"the operation {full}")

    def _check_attribute(self, node: ast.AST, name: str) -> None:
        if name not in operations.TENSOR and name in operations.registered():
            self._refuse(node, f"the operation {name}")

    def _check_name(self, node: ast.Name, local: set[str]) -> None:
        if node.id not in local and node.id not in operations.BUILTINS:
            self._refuse(node, f"the name {node.id}")

    def _check_constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            if not node.value.replace("\n", "").replace("\t", "").isprintable():
                self._refuse(node, "a text with control characters")
        elif not (node.value is None or isinstance(node.value, (bool, int, float))):
            self._refuse(node, f"a constant of type {type(node.value).__name__}")

    def _check_call(self, node: ast.Call) -> None:
        function = ast.unparse(node.func)
        if function in operations.BY_NAME:
            name = node.args[1] if len(node.args) > 1 else None
            if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
                self._refuse(node, f"{function} of a name that is computed")
            self._check_attribute(node, name.value)
        elif function == "ops.prim.RaiseException":
            # torch imports the module of the class that is named here.
            for kind in node.args[1:]:
                if not re.fullmatch(r"'builtins\.\w+'", ast.unparse(kind)):
                    self._refuse(node, f"an exception of {ast.unparse(kind)}")


def _is_version_line(node: ast.stmt) -> bool:
    """Says whether this is ``op_version_set = N``, the first line of older archives."""
    return (
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and ast.unparse(node.targets[0]) == "op_version_set"
    )


def _stored(tree: ast.AST) -> set[str]:
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


# --- pickles --------------------------------------------------------------------

_PICKLE_OPCODES = frozenset(
    {
        *("PROTO", "STOP", "MARK", "POP", "NONE", "NEWTRUE", "NEWFALSE"),
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
        *("SHORT_BINSTRING", "BINSTRING", "EMPTY_LIST", "APPEND", "APPENDS"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "LIST", "DICT"),
        *("EMPTY_DICT", "SETITEM", "SETITEMS", "BINGET", "LONG_BINGET", "BINPUT"),
        *("LONG_BINPUT", "GLOBAL", "REDUCE", "NEWOBJ", "BUILD", "BINPERSID"),
    }
)
_PICKLE_GLOBALS = frozenset(
    {
        "collections OrderedDict",
        "torch device",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_tensor_v2",
        "torch.jit._pickle build_boollist",
        "torch.jit._pickle build_doublelist",
        "torch.jit._pickle build_intlist",
        "torch.jit._pickle build_tensorlist",
        "torch.jit._pickle restore_type_tag",
    }
)
_STORAGE = re.compile(r"torch [A-Z][A-Za-z0-9]*Storage")


def _check_pickle(name: str, data: bytes, classes: set[str]) -> None:
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name not in _PICKLE_OPCODES:
                _refuse(f"the pickle instruction {opcode.name} ({name})")
            if opcode.name == "GLOBAL":
                _check_pickled_name(name, str(argument), classes)
            elif isinstance(argument, str) and "torch.classes" in argument:
                _refuse(f"the class {argument} ({name})")
    except (ValueError, IndexError, UnicodeError) as error:
        raise ModelError(f"damaged TorchScript archive: {name}: {error}") from error


def _check_pickled_name(entry: str, name: str, classes: set[str]) -> None:
    known = (
        name in _PICKLE_GLOBALS
        or _STORAGE.fullmatch(name)
        or name.replace(" ", ".") in classes
    )
    if not known:
        _refuse(f"the class {name.replace(' ', '.')} ({entry})")
