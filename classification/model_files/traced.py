"""Translates traced TorchScript into ONNX, without torch and without running anything.

Tracing leaves a network as straight-line code: assignments of operations to names, one
method for each layer. It is parsed as text and followed statement by statement; each
operation must be in the closed table ``operators.OPERATORS``. What only a program has (a
branch, a loop, a cast, a name that stands for a function) is refused, and named.

An operation in place gives its result a name; who goes on to use what it wrote over is
refused, since in ONNX nothing changes.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from classification.model_files import graphs
from classification.model_files.networks import BATCH, Network, Tensor, shown
from classification.model_files.operators import IN_PLACE, OPERATORS
from classification.model_files.pickles import NotDataError, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from classification.model_files.torch_files import Archive

INPUT, OUTPUT = "images", "logits"
_MAX_STATEMENTS = 50_000  # an EfficientNet-B7 has 5,000
_MAX_CALLS = 60  # of one layer within the other
_MAX_NESTING = 60  # of expressions
_MAX_LINE = 1 << 16
_MAX_LIST = 4096
_RESULT_RANK = 2
# Names that code cannot give to values of its own.
_RESERVED = frozenset(
    {"torch", "ops", "CONSTANTS", "__torch__", "getattr", "annotate", "int"}
)
# What makes a number of a tensor of one number.
_NUMBERS = frozenset({"int", "ops.prim.NumToTensor"})
_SHOWN: dict[type[ast.AST], str] = {
    ast.If: "a branch (if)",
    ast.For: "a loop (for)",
    ast.While: "a loop (while)",
    ast.IfExp: "a branch (if)",
    ast.Assign: "an assignment to more than names",
}


@dataclass(frozen=True)
class Translation:
    """A network in ONNX.

    Attributes:
        data: the ONNX file; its input is [N, 3, S, S], its output [N, outputs].
        outputs: number of outputs.
    """

    data: bytes
    outputs: int


def translate(archive: Archive, image_size: int) -> Translation:
    """Translates the network of a TorchScript archive.

    Args:
        archive: what ``torch_files.read_torchscript`` gave.
        image_size: the side S of the input in pixels.

    Raises:
        NotDataError: the archive holds more than a traced network; names the first such
            thing.
    """
    network = Network(INPUT, (BATCH, 3, image_size, image_size))
    try:
        result = _Translator(archive, network).call(
            archive.network, "forward", [network.input]
        )
    except RecursionError as error:
        raise NotDataError("code that is nested too deeply") from error
    if not isinstance(result, Tensor):
        raise NotDataError(f"a network that gives {_kind(result)}, not one tensor")
    if result.rank != _RESULT_RANK or result.shape[0] != BATCH:
        raise NotDataError(
            f"a network that gives {shown(result.shape)}, no [N, labels]"
        )
    if result.version != result.memory.version:
        raise NotDataError("a result that an operation in place wrote over")
    network.check_memory(result)
    outputs = result.shape[1]
    model = network.graph.model(
        "traced",
        (INPUT, ["batch", 3, image_size, image_size]),
        (result.name, OUTPUT, ["batch", outputs]),
    )
    return Translation(graphs.to_bytes(model), outputs)


class _Source:
    """The methods and functions of an archive, parsed when they are first needed."""

    def __init__(self, code: Mapping[str, bytes]) -> None:
        self._code = code
        self._trees: dict[str, ast.Module] = {}

    def function(self, qualified: str, method: str | None = None) -> ast.FunctionDef:
        """Returns a function of a module, or a method of a class of one."""
        module, _, name = qualified.rpartition(".")
        body = self._tree(module).body
        if method is not None:
            for item in body:
                if isinstance(item, ast.ClassDef) and item.name == name:
                    body, name = item.body, method
                    break
            else:
                raise NotDataError(f"a class {qualified} without code")
        for item in body:
            if isinstance(item, ast.FunctionDef) and item.name == name:
                return item
        raise NotDataError(f"{qualified}{f'.{method}' if method else ''} without code")

    def _tree(self, module: str) -> ast.Module:
        if module not in self._trees:
            if module not in self._code:
                raise NotDataError(f"a module {module} without code")
            self._trees[module] = _parse(module, self._code[module])
        return self._trees[module]


def _parse(module: str, text: bytes) -> ast.Module:
    if max(map(len, text.split(b"\n"))) > _MAX_LINE:
        raise NotDataError(f"a line of more than {_MAX_LINE} characters in {module}")
    try:
        return ast.parse(text.decode("ascii"))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotDataError(f"source that cannot be parsed in {module}") from error


@dataclass
class _Frame:
    """A function that is being followed."""

    module: str
    names: dict[str, object]


class _Translator:
    """Follows the code of an archive, and writes what it does into a graph."""

    def __init__(self, archive: Archive, network: Network) -> None:
        self._source = _Source(archive.code)
        self._constants = archive.constants
        self._network = network
        self._statements_left = _MAX_STATEMENTS
        self._depth = 0

    def call(self, target: object, method: str, arguments: Sequence[object]) -> object:
        """Follows a method of a record of the archive."""
        if not isinstance(target, Record):
            raise NotDataError(f"a method {method} of {_kind(target)}")
        function = self._source.function(target.name, method)
        return self._follow(target.name, function, [target, *arguments])

    def _follow(
        self, qualified: str, function: ast.FunctionDef, arguments: Sequence[object]
    ) -> object:
        names = [argument.arg for argument in function.args.args]
        frame = _Frame(qualified.rpartition(".")[0], {})
        if function.args.kwonlyargs or function.args.vararg or function.args.kwarg:
            self._refuse(frame, function, "a function of odd parameters")
        if len(names) != len(arguments) or function.decorator_list:
            self._refuse(frame, function, "a call that does not fit")
        if self._depth >= _MAX_CALLS:
            raise NotDataError("layers within layers without end")
        for name, value in zip(names, arguments, strict=True):
            self._assign(frame, function, name, value)
        self._depth += 1
        try:
            for statement in function.body:
                self._statements_left -= 1
                if self._statements_left < 0:
                    raise NotDataError(f"more than {_MAX_STATEMENTS} statements")
                if isinstance(statement, ast.Return) and statement.value is not None:
                    return self._value(frame, statement.value, 0)
                self._statement(frame, statement)
        finally:
            self._depth -= 1
        raise NotDataError(f"{qualified}.{function.name} without a result")

    def _statement(self, frame: _Frame, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Expr):
            self._value(frame, statement.value, 0)  # names an operation of no table
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            self._refuse(frame, statement, _shown(statement))
        value = self._value(frame, statement.value, 0)
        target = statement.targets[0]
        if isinstance(target, ast.Name):
            self._assign(frame, statement, target.id, value)
            return
        if not isinstance(target, ast.Tuple) or not isinstance(value, list | tuple):
            self._refuse(frame, statement, _shown(statement))
        if len(target.elts) != len(value):
            self._refuse(frame, statement, "an assignment that does not fit")
        for element, part in zip(target.elts, value, strict=True):
            if not isinstance(element, ast.Name):
                self._refuse(frame, statement, _shown(statement))
            self._assign(frame, statement, element.id, part)

    def _assign(self, frame: _Frame, node: ast.AST, name: str, value: object) -> None:
        if name in _RESERVED:
            self._refuse(frame, node, f"a value named {name}")
        frame.names[name] = value

    def _value(self, frame: _Frame, node: ast.expr, nesting: int) -> object:
        if nesting > _MAX_NESTING:
            self._refuse(frame, node, "an expression that is nested too deeply")
        match node:
            case ast.Constant(value=None | bool() | int() | float() | str()):
                found: object = node.value
            case ast.Name(id=name):
                if name not in frame.names:
                    self._refuse(frame, node, f"the name {name}")
                found = frame.names[name]
            case ast.List() | ast.Tuple() if len(node.elts) <= _MAX_LIST:
                found = [self._value(frame, item, nesting + 1) for item in node.elts]
            case ast.UnaryOp(op=ast.USub()):
                found = self._negative(frame, node, nesting)
            case ast.Attribute(value=ast.Name(id="CONSTANTS"), attr=name):
                found = self._constant(frame, node, name)
            case ast.Attribute(value=inner, attr=name):
                target = self._value(frame, inner, nesting + 1)
                found = self._attribute(frame, node, target, name)
            case ast.Call():
                found = self._called(frame, node, nesting)
            case _:
                self._refuse(frame, node, _shown(node))
        return found

    def _negative(self, frame: _Frame, node: ast.UnaryOp, nesting: int) -> int | float:
        value = self._value(frame, node.operand, nesting + 1)
        if not isinstance(value, int | float):
            self._refuse(frame, node, f"the negative of {_kind(value)}")
        return -value

    def _constant(self, frame: _Frame, node: ast.expr, name: str) -> object:
        if not re.fullmatch(r"c\d{1,6}", name) or int(name[1:]) >= len(self._constants):
            self._refuse(frame, node, f"the constant {name}, which there is not")
        return self._held(frame, node, self._constants[int(name[1:])])

    def _attribute(
        self, frame: _Frame, node: ast.expr, target: object, name: str
    ) -> object:
        if not isinstance(target, Record) or name not in target.attributes:
            self._refuse(frame, node, f"the attribute {name} of {_kind(target)}")
        return self._held(frame, node, target.attributes[name])

    def _held(self, frame: _Frame, node: ast.expr, value: object) -> object:
        """Returns what the archive holds as a value of the code."""
        if not isinstance(value, np.ndarray):
            return value
        if value.ndim == 0:
            return value.item()
        if value.dtype == np.int64:
            return value  # places in a table
        if value.dtype != np.float32:
            self._refuse(frame, node, f"weights of the type {value.dtype}")
        return self._network.weight(value)

    def _called(self, frame: _Frame, node: ast.Call, nesting: int) -> object:
        if any(keyword.arg is None for keyword in node.keywords):
            self._refuse(frame, node, "a call of arguments that are computed")
        match node:
            case ast.Call(func=ast.Name(id="getattr")):
                return self._getattr(frame, node, nesting)
            case ast.Call(func=ast.Name(id="annotate"), args=[_, stated], keywords=[]):
                return self._value(frame, stated, nesting + 1)
            case _:
                pass
        name = _dotted(node.func)
        if name and not _is_known(name):
            self._refuse(frame, node, f"the operation {name}")
        arguments = [self._value(frame, item, nesting + 1) for item in node.args]
        options = {
            str(keyword.arg): self._value(frame, keyword.value, nesting + 1)
            for keyword in node.keywords
        }
        if name.startswith("torch."):
            return self._operation(frame, node, name, (arguments, options))
        if options:
            self._refuse(frame, node, f"a call of {name or 'a value'} with names")
        return self._inlined(frame, node, name, arguments, nesting)

    def _inlined(
        self,
        frame: _Frame,
        node: ast.Call,
        name: str,
        arguments: list[object],
        nesting: int,
    ) -> object:
        """Follows a method, a function, or one of TorchScript's own that change nothing."""
        if name in _NUMBERS and len(arguments) == 1:
            return self._number(frame, node, arguments[0])
        if name.startswith("__torch__."):
            return self._follow(name, self._source.function(name), arguments)
        if isinstance(node.func, ast.Attribute) and not name:
            target = self._value(frame, node.func.value, nesting + 1)
            if isinstance(target, Record):
                return self.call(target, node.func.attr, arguments)
        return self._refuse(
            frame, node, f"the operation {name or ast.unparse(node.func)[:80]}"
        )

    def _getattr(self, frame: _Frame, node: ast.Call, nesting: int) -> object:
        match node.args:
            case [target, ast.Constant(value=str(name))] if not node.keywords:
                record = self._value(frame, target, nesting + 1)
            case _:
                self._refuse(frame, node, "getattr of a name that is computed")
        return self._attribute(frame, node, record, name)

    def _number(self, frame: _Frame, node: ast.Call, value: object) -> int:
        if not isinstance(value, int | float) or value != value // 1:
            self._refuse(frame, node, f"int of {_kind(value)}")
        return int(value)

    def _operation(
        self,
        frame: _Frame,
        node: ast.Call,
        name: str,
        given: tuple[list[object], dict[str, object]],
    ) -> object:
        in_place = _is_in_place(name)
        operator = OPERATORS[name.removeprefix("torch.").removesuffix("_" * in_place)]
        arguments, options = given
        tensors = [
            value
            for value in _flat([*arguments, *options.values()])
            if isinstance(value, Tensor)
        ]
        if any(value.version != value.memory.version for value in tensors):
            self._refuse(
                frame, node, f"{name} of a value that an operation in place wrote over"
            )
        try:
            bound = _bound(operator, self._network, arguments, options)
            result = operator(*bound)
            if in_place:
                return self._overwritten(tensors, arguments[0], result)
        except NotDataError as error:
            self._refuse(frame, node, f"{name}: {error}")
        return result

    def _overwritten(
        self, tensors: list[Tensor], target: object, result: object
    ) -> object:
        if not isinstance(target, Tensor) or not isinstance(result, Tensor):
            raise NotDataError("a number that is written over")
        if any(x.memory is target.memory and x is not target for x in tensors):
            raise NotDataError("a value that is written over by a part of itself")
        return self._network.overwritten(target, result)

    def _refuse(self, frame: _Frame, node: ast.AST, what: str) -> NoReturn:
        raise NotDataError(f"{what} ({frame.module} line {getattr(node, 'lineno', 1)})")


def _is_known(name: str) -> bool:
    """Says whether an operation, a function or a method of the archive may be called."""
    operation = name.removeprefix("torch.")
    return (
        (operation != name and (operation in OPERATORS or _is_in_place(name)))
        or name in _NUMBERS
        or name.startswith("__torch__.")
    )


def _is_in_place(name: str) -> bool:
    """Says whether an operation writes over its first argument."""
    operation = name.removeprefix("torch.")
    return operation.endswith("_") and operation[:-1] in IN_PLACE


def _dotted(node: ast.expr) -> str:
    """Returns ``a.b.c`` where an expression is names alone, else nothing."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or (names and node.id not in _RESERVED):
        return ""
    return ".".join([node.id, *names])


def _flat(values: Sequence[object]) -> list[object]:
    """Returns values, and those of lists among them."""
    return [
        item
        for value in values
        for item in (value if isinstance(value, list) else [value])
    ]


def _shown(node: ast.AST) -> str:
    return _SHOWN.get(type(node), f"the expression {type(node).__name__}")


def _kind(value: object) -> str:
    return value.name if isinstance(value, Record) else f"a {type(value).__name__}"


# --- arguments ------------------------------------------------------------------


@functools.cache
def _signature(
    operator: Callable[..., Any],
) -> tuple[inspect.Signature, dict[str, Any]]:
    return inspect.signature(operator), typing.get_type_hints(operator)


def _bound(
    operator: Callable[..., Any],
    network: Network,
    arguments: list[object],
    options: dict[str, object],
) -> tuple[object, ...]:
    """Returns the arguments of an operator in order, each of the type it states.

    Raises:
        NotDataError: they are others.
    """
    signature, hints = _signature(operator)
    try:
        bound = signature.bind(network, *arguments, **options)
    except TypeError as error:
        raise NotDataError(f"other arguments than expected ({error})") from error
    for name, value in bound.arguments.items():
        variadic = signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
        for item in value if variadic else (value,):
            if not _fits(item, hints[name]):
                raise NotDataError(f"{name} is {_kind(item)}")
    bound.apply_defaults()
    return bound.args


def _fits(value: object, hint: Any) -> bool:  # noqa: ANN401 - a type of typing
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        return any(_fits(value, part) for part in typing.get_args(hint))
    if typing.get_origin(hint) is list:
        (item,) = typing.get_args(hint)
        return (
            isinstance(value, list)
            and len(value) <= _MAX_LIST
            and all(_fits(part, item) for part in value)
        )
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int)
    return isinstance(value, hint)
