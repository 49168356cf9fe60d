"""What translated networks may do: torch's operations, one function each, as ONNX.

``OPERATORS`` is the closed table. A function has torch's name and torch's parameters
(https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/native/native_functions.yaml);
their annotations are what the caller checks values against. It computes the shape of the
result, and refuses with ``NotDataError`` what it cannot say in ONNX.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from classification.model_files.networks import BATCH, Network, Tensor, shown
from classification.model_files.pickles import NotDataError

if TYPE_CHECKING:
    from collections.abc import Callable

_FLOAT32 = 6  # torch's number of this type
_IMAGE_RANK = 4
_MATRIX_RANK = 2
MAX_INDEX = 1 << 20  # elements; of the places within a window: 2401


def number(value: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns a number as a constant of the graph.

    Raises:
        NotDataError: it depends on how many images there are.
    """
    if isinstance(value, int) and value and value % BATCH == 0:
        raise NotDataError("arithmetic with the number of images")
    return np.array(value, np.float32)


def _operand(value: Tensor | float) -> Tensor | np.ndarray[Any, Any]:
    return value if isinstance(value, Tensor) else number(value)


def _broadcast(*values: Tensor | float) -> tuple[int, ...]:
    shapes = [value.shape for value in values if isinstance(value, Tensor)]
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    result = []
    for sides in zip(*padded, strict=True):
        wide = {side for side in sides if side != 1}
        if len(wide) > 1:
            raise NotDataError(
                f"arithmetic of {' and '.join(shown(shape) for shape in shapes)}"
            )
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def _elementwise(
    net: Network, operator: str, *values: Tensor | float, **attributes: object
) -> Tensor:
    inputs = [_operand(value) for value in values]
    return net.node(operator, inputs, _broadcast(*values), **attributes)


def _quotient(one: float, other: float, mode: str | None) -> int | float:
    """Divides two numbers as torch does; exact where they depend on the images' number."""
    if not other:
        raise NotDataError("a division by zero")
    if mode is None:
        if isinstance(one, int) and one % other == 0:
            return one // other
        return number(one).item() / number(other).item()
    if one % BATCH == 0 and one % other:
        raise NotDataError("a division of the number of images")
    if isinstance(one, int) and isinstance(other, int):
        exact = one // other
        return exact + 1 if mode == "trunc" and exact < 0 and one % other else exact
    return math.trunc(one / other) if mode == "trunc" else math.floor(one / other)


# --- arithmetic -----------------------------------------------------------------


def add(
    net: Network,
    input: Tensor | float,
    other: Tensor | float,
    alpha: float = 1,
) -> Tensor | float:
    if alpha != 1:
        other = mul(net, other, alpha)
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        return input + other
    return _elementwise(net, "Add", input, other)


def sub(
    net: Network,
    input: Tensor | float,
    other: Tensor | float,
    alpha: float = 1,
) -> Tensor | float:
    if alpha != 1:
        other = mul(net, other, alpha)
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        return input - other
    return _elementwise(net, "Sub", input, other)


def rsub(
    net: Network,
    input: Tensor | float,
    other: Tensor | float,
    alpha: float = 1,
) -> Tensor | float:
    return sub(net, other, input, alpha)


def mul(
    net: Network,
    input: Tensor | float,
    other: Tensor | float,
) -> Tensor | float:
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        return input * other
    return _elementwise(net, "Mul", input, other)


def div(
    net: Network,
    input: Tensor | float,
    other: Tensor | float,
    rounding_mode: str | None = None,
) -> Tensor | float:
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        return _quotient(input, other, rounding_mode)
    if rounding_mode is not None:
        raise NotDataError("a rounded division of tensors")
    return _elementwise(net, "Div", input, other)


def floor_divide(net: Network, input: float, other: float) -> float:
    del net
    return _quotient(input, other, "floor")


def remainder(net: Network, input: int, other: int) -> int:
    return int(input - other * floor_divide(net, input, other))


def pow(net: Network, self: Tensor, exponent: float) -> Tensor:
    return _elementwise(net, "Pow", self, exponent)


def addcmul(
    net: Network, self: Tensor, tensor1: Tensor, tensor2: Tensor, value: float = 1
) -> Tensor | float:
    return add(net, self, mul(net, tensor1, tensor2), value)


def ceil(net: Network, self: float) -> int:
    del net
    return math.ceil(self)


def floor(net: Network, self: float) -> int:
    del net
    return math.floor(self)


def square(net: Network, self: Tensor) -> Tensor:
    return _elementwise(net, "Mul", self, self)


def rsqrt(net: Network, self: Tensor) -> Tensor:
    return net.node("Reciprocal", [_elementwise(net, "Sqrt", self)], self.shape)


def matmul(net: Network, self: Tensor, other: Tensor) -> Tensor:
    if self.rank < _MATRIX_RANK or other.rank < _MATRIX_RANK:
        raise NotDataError("a product with a vector")
    if self.shape[-1] != other.shape[-2]:
        raise NotDataError(f"a product of {shown(self.shape)} and {shown(other.shape)}")
    outer = _broadcast(Tensor("", self.shape[:-2]), Tensor("", other.shape[:-2]))
    shape = (*outer, self.shape[-2], other.shape[-1])
    return net.node("MatMul", [self, other], shape)


def addmm(
    net: Network,
    self: Tensor,
    mat1: Tensor,
    mat2: Tensor,
    beta: float = 1,
    alpha: float = 1,
) -> Tensor:
    product = matmul(net, mat1, mat2)
    if mat1.rank != _MATRIX_RANK or mat2.rank != _MATRIX_RANK:
        raise NotDataError("addmm of more than matrices")
    return net.node(
        "Gemm",
        [mat1, mat2, self],
        product.shape,
        alpha=float(alpha),
        beta=float(beta),
    )


def linear(
    net: Network,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    if weight.rank != _MATRIX_RANK or input.shape[-1] != weight.shape[1]:
        raise NotDataError(
            f"a linear layer of {shown(weight.shape)} behind {shown(input.shape)}"
        )
    shape = (*input.shape[:-1], weight.shape[0])
    if bias is not None and bias.shape != (weight.shape[0],):
        raise NotDataError(f"a linear layer with a bias of {shown(bias.shape)}")
    if input.rank == _MATRIX_RANK:
        return net.node(
            "Gemm", [input, weight, bias][: 2 + (bias is not None)], shape, transB=1
        )
    product = net.node("MatMul", [input, t(net, weight)], shape)
    return product if bias is None else _elementwise(net, "Add", product, bias)


# --- layers ---------------------------------------------------------------------


def _windows(side: int, kernel: int, stride: int, pads: int, dilation: int) -> int:
    """Returns how many windows fit into a side, in pixels, with its padding."""
    if kernel < 1 or stride < 1 or dilation < 1:
        raise NotDataError("a window without size or step")
    return (side + pads - dilation * (kernel - 1) - 1) // stride + 1


def _pair(values: list[int], count: int) -> list[int]:
    if len(values) not in {1, count}:
        raise NotDataError(f"{len(values)} numbers for {count} sides")
    return values * count if len(values) == 1 else values


def conv2d(
    net: Network,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: list[int] = [1],
    padding: list[int] = [0],
    dilation: list[int] = [1],
    groups: int = 1,
) -> Tensor:
    sides = input.rank - 2
    if sides < 1 or weight.rank != input.rank or groups < 1:
        raise NotDataError(
            f"a convolution of {shown(input.shape)} by {shown(weight.shape)}"
        )
    outputs, channels, *kernel = weight.shape
    if input.shape[1] != channels * groups or outputs % groups:
        raise NotDataError(
            f"a convolution of {shown(input.shape)} by {shown(weight.shape)}"
        )
    if bias is not None and bias.shape != (outputs,):
        raise NotDataError(f"a convolution with a bias of {shown(bias.shape)}")
    stride, padding, dilation = (
        _pair(values, sides) for values in (stride, padding, dilation)
    )
    if min(padding) < 0:
        raise NotDataError("a negative padding")
    spatial = [
        _windows(
            input.shape[2 + at], kernel[at], stride[at], 2 * padding[at], dilation[at]
        )
        for at in range(sides)
    ]
    return net.node(
        "Conv",
        [input, weight, bias][: 2 + (bias is not None)],
        (input.shape[0], outputs, *spatial),
        kernel_shape=kernel,
        strides=stride,
        pads=padding * 2,
        dilations=dilation,
        group=groups,
    )


def _convolution(
    net: Network,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    benchmark: bool,
    deterministic: bool,
    cudnn_enabled: bool,
    allow_tf32: bool = False,
) -> Tensor:
    del output_padding, benchmark, deterministic, cudnn_enabled, allow_tf32
    if transposed:
        raise NotDataError("a transposed convolution")
    return conv2d(net, input, weight, bias, stride, padding, dilation, groups)


def _convolution_mode(
    net: Network,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: str,
    dilation: list[int],
    groups: int,
) -> Tensor:
    kernel = weight.shape[2:]
    dilation = _pair(dilation, len(kernel))
    pads = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if padding == "valid":
        pads = [0] * len(kernel)
    elif padding != "same" or any(side % 2 for side in pads):
        raise NotDataError(f"a convolution with the padding {padding!r}")
    halves = [side // 2 for side in pads]
    return conv2d(net, input, weight, bias, stride, halves, dilation, groups)


def batch_norm(
    net: Network,
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    del momentum, cudnn_enabled
    if training:
        raise NotDataError("a batch normalisation that learns (training mode)")
    channels = input.shape[1:2]
    scale = weight or net.weight(np.ones(channels, np.float32))
    shift = bias or net.weight(np.zeros(channels, np.float32))
    parts = [scale, shift, running_mean, running_var]
    if any(part.shape != channels for part in parts):
        raise NotDataError(f"a batch normalisation of other channels than {channels}")
    return net.node(
        "BatchNormalization", [input, *parts], input.shape, epsilon=float(eps)
    )


def layer_norm(
    net: Network,
    input: Tensor,
    normalized_shape: list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    del cudnn_enable
    shape = tuple(normalized_shape)
    if not shape or input.shape[-len(shape) :] != shape:
        raise NotDataError(f"a normalisation of {shape} in {shown(input.shape)}")
    scale = weight or net.weight(np.ones(shape, np.float32))
    shift = bias or net.weight(np.zeros(shape, np.float32))
    if scale.shape != shape or shift.shape != shape:
        raise NotDataError(f"a normalisation of other sides than {shape}")
    return net.node(
        "LayerNormalization",
        [input, scale, shift],
        input.shape,
        axis=-len(shape),
        epsilon=float(eps),
    )


def dropout(net: Network, input: Tensor, p: float, train: bool) -> Tensor:
    del net, p
    if train:
        raise NotDataError("a dropout that drops (training mode)")
    return input


def softmax(net: Network, self: Tensor, dim: int, dtype: int | None = None) -> Tensor:
    if dtype not in {None, _FLOAT32}:
        raise NotDataError("numbers of another type than float32")
    axis = self.axis(dim)
    _within_images(self, axis)
    return net.node("Softmax", [self], self.shape, axis=axis)


def log_softmax(
    net: Network, self: Tensor, dim: int, dtype: int | None = None
) -> Tensor:
    return net.node("Log", [softmax(net, self, dim, dtype)], self.shape)


def scaled_dot_product_attention(
    net: Network,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if dropout_p or is_causal or enable_gqa:
        raise NotDataError("an attention that drops, or that looks back alone")
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    keys = transpose(net, key, -2, -1)
    weights = _elementwise(net, "Mul", matmul(net, query, keys), factor)
    if attn_mask is not None:
        weights = _elementwise(net, "Add", weights, attn_mask)
    return matmul(net, softmax(net, weights, -1), value)


# --- activations ----------------------------------------------------------------


def _unary(operator: str, **attributes: float) -> Callable[..., Tensor]:
    def translate(net: Network, input: Tensor) -> Tensor:
        return net.node(operator, [input], input.shape, **attributes)

    return translate


def silu(net: Network, input: Tensor) -> Tensor:
    gate = net.node("Sigmoid", [input], input.shape)
    return _elementwise(net, "Mul", input, gate)


def mish(net: Network, input: Tensor) -> Tensor:
    raised = net.node("Softplus", [input], input.shape)
    gate = net.node("Tanh", [raised], input.shape)
    return _elementwise(net, "Mul", input, gate)


def gelu(net: Network, input: Tensor, approximate: str = "none") -> Tensor:
    if approximate == "tanh":
        cube = _elementwise(net, "Mul", square(net, input), input)
        inner = _elementwise(
            net, "Add", input, _elementwise(net, "Mul", cube, 0.044715)
        )
        scaled = _elementwise(net, "Mul", inner, math.sqrt(2 / math.pi))
        gate = net.node("Tanh", [scaled], input.shape)
    elif approximate == "none":
        scaled = _elementwise(net, "Div", input, math.sqrt(2))
        gate = net.node("Erf", [scaled], input.shape)
    else:
        raise NotDataError(f"the approximation {approximate} of gelu")
    raised = _elementwise(net, "Mul", input, _elementwise(net, "Add", gate, 1.0))
    return _elementwise(net, "Mul", raised, 0.5)


def clamp(
    net: Network,
    input: Tensor | float,
    min: float | None = None,
    max: float | None = None,
) -> Tensor | float:
    if not isinstance(input, Tensor):
        raised = input if min is None or input > min else min
        return raised if max is None or raised < max else max
    bounds = [None if bound is None else number(bound) for bound in (min, max)]
    return net.node("Clip", [input, *bounds], input.shape)


def clamp_min(net: Network, input: Tensor, min: float) -> Tensor | float:
    return clamp(net, input, min)


def clamp_max(net: Network, input: Tensor, max: float) -> Tensor | float:
    return clamp(net, input, None, max)


def hardtanh(
    net: Network,
    input: Tensor,
    min_val: float = -1.0,
    max_val: float = 1.0,
) -> Tensor | float:
    return clamp(net, input, min_val, max_val)


def relu6(net: Network, input: Tensor) -> Tensor | float:
    return clamp(net, input, 0.0, 6.0)


def hardsigmoid(net: Network, input: Tensor) -> Tensor | float:
    return net.node("HardSigmoid", [input], input.shape, alpha=1 / 6, beta=0.5)


def hardswish(net: Network, input: Tensor) -> Tensor | float:
    return net.node("HardSwish", [input], input.shape)


def leaky_relu(
    net: Network, input: Tensor, negative_slope: float = 0.01
) -> Tensor | float:
    return net.node("LeakyRelu", [input], input.shape, alpha=float(negative_slope))


def elu(
    net: Network,
    input: Tensor,
    alpha: float = 1.0,
    scale: float = 1.0,
    input_scale: float = 1.0,
) -> Tensor | float:
    if scale != 1 or input_scale != 1:
        raise NotDataError("a scaled elu")
    return net.node("Elu", [input], input.shape, alpha=float(alpha))


# --- over windows and sides -----------------------------------------------------


def _within_images(x: Tensor, *axes: int) -> None:
    if any(x.shape[axis] % BATCH == 0 for axis in axes):
        raise NotDataError("an operation that mixes the images of a batch")


def adaptive_avg_pool2d(net: Network, input: Tensor, output_size: list[int]) -> Tensor:
    if input.rank != _IMAGE_RANK or len(output_size) != 2:  # noqa: PLR2004 - height and width
        raise NotDataError(f"a pooling of {shown(input.shape)} to {output_size}")
    images, channels, *sides = input.shape
    if output_size == [1, 1]:
        return net.node("GlobalAveragePool", [input], (images, channels, 1, 1))
    result = input
    if sides[1] != output_size[1]:
        columns = _averaging(sides[1], output_size[1])
        shape = (images, channels, sides[0], output_size[1])
        result = net.node("MatMul", [result, np.ascontiguousarray(columns.T)], shape)
    if sides[0] != output_size[0]:
        shape = (images, channels, output_size[0], output_size[1])
        result = net.node(
            "MatMul", [_averaging(sides[0], output_size[0]), result], shape
        )
    return result


def _averaging(inputs: int, outputs: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns the matrix [outputs, inputs] that averages each output's part of a side."""
    if not 0 < outputs <= 1024:  # noqa: PLR2004 - far above any network's
        raise NotDataError(f"a pooling to {outputs} pixels")
    matrix = np.zeros((outputs, inputs), np.float32)
    for at in range(outputs):
        start, stop = at * inputs // outputs, -(-(at + 1) * inputs // outputs)
        matrix[at, start:stop] = 1 / (stop - start)
    return matrix


def _pooled(
    net: Network,
    operator: str,
    input: Tensor,
    settings: tuple[list[int], list[int], list[int], list[int], bool],
    **attributes: int,
) -> Tensor:
    kernel, stride, padding, dilation, ceil_mode = settings
    if input.rank != _IMAGE_RANK:
        raise NotDataError(f"a pooling of {shown(input.shape)}")
    kernel, padding, dilation = (_pair(v, 2) for v in (kernel, padding, dilation))
    stride = _pair(stride, 2) if stride else kernel
    if min(padding) < 0:
        raise NotDataError("a negative padding")
    sides, rounds_up = [], False
    for side, size, step, pad, wide in zip(
        input.shape[2:], kernel, stride, padding, dilation, strict=True
    ):
        windows = _windows(side, size, step, 2 * pad, wide)
        if ceil_mode:
            more = _windows(side, size, step, 2 * pad + step - 1, wide)
            if (more - 1) * step >= side + pad:
                more -= 1  # a window must begin inside of the image
            rounds_up, windows = rounds_up or more != windows, more
        sides.append(windows)
    if rounds_up and operator == "AveragePool":
        raise NotDataError("an average over windows that reach beyond the image")
    return net.node(
        operator,
        [input],
        (*input.shape[:2], *sides),
        kernel_shape=kernel,
        strides=stride,
        pads=padding * 2,
        ceil_mode=int(rounds_up),
        **attributes,
    )


def max_pool2d(
    net: Network,
    self: Tensor,
    kernel_size: list[int],
    stride: list[int] = [],
    padding: list[int] = [0],
    dilation: list[int] = [1],
    ceil_mode: bool = False,
) -> Tensor:
    settings = (kernel_size, stride, padding, dilation, ceil_mode)
    return _pooled(net, "MaxPool", self, settings, dilations=_pair(dilation, 2))  # type: ignore[arg-type]


def avg_pool2d(
    net: Network,
    self: Tensor,
    kernel_size: list[int],
    stride: list[int] = [],
    padding: list[int] = [0],
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    if divisor_override is not None:
        raise NotDataError("an average with a divisor of its own")
    settings = (kernel_size, stride, padding, [1], ceil_mode)
    return _pooled(
        net, "AveragePool", self, settings, count_include_pad=int(count_include_pad)
    )


def _reduced(
    net: Network, operator: str, x: Tensor, dim: list[int] | None, keepdim: bool
) -> Tensor:
    axes = sorted({x.axis(at) for at in (dim or range(x.rank))})
    _within_images(x, *axes)
    kept = tuple(1 if at in axes else side for at, side in enumerate(x.shape))
    shape = kept if keepdim else tuple(s for at, s in enumerate(kept) if at not in axes)
    if operator == "ReduceSum":
        return net.node(
            operator, [x, np.array(axes, np.int64)], shape, keepdims=int(keepdim)
        )
    return net.node(operator, [x], shape, axes=axes, keepdims=int(keepdim))


def mean(
    net: Network,
    self: Tensor,
    dim: list[int] | None = None,
    keepdim: bool = False,
    dtype: int | None = None,
) -> Tensor:
    if dtype not in {None, _FLOAT32}:
        raise NotDataError("numbers of another type than float32")
    axes = sorted(self.axis(at) for at in dim or [])
    if self.rank != _IMAGE_RANK or axes != [2, 3]:
        return _reduced(net, "ReduceMean", self, dim, keepdim)
    # Faster than a reduction, whatever the layout behind convolutions.
    pooled = net.node("GlobalAveragePool", [self], (*self.shape[:2], 1, 1))
    return pooled if keepdim else _reshaped(net, pooled, self.shape[:2])


def sum(
    net: Network,
    self: Tensor,
    dim: list[int] | None = None,
    keepdim: bool = False,
    dtype: int | None = None,
) -> Tensor:
    if dtype not in {None, _FLOAT32}:
        raise NotDataError("numbers of another type than float32")
    return _reduced(net, "ReduceSum", self, dim, keepdim)


def amax(net: Network, self: Tensor, dim: list[int], keepdim: bool = False) -> Tensor:
    return _reduced(net, "ReduceMax", self, dim, keepdim)


def norm(
    net: Network, self: Tensor, p: float, dim: list[int], keepdim: bool = False
) -> Tensor:
    if p != 2:  # noqa: PLR2004 - the Euclidean norm
        raise NotDataError(f"a norm of the order {p}")
    return _reduced(net, "ReduceL2", self, dim, keepdim)


def linalg_vector_norm(
    net: Network,
    self: Tensor,
    ord: float = 2,
    dim: list[int] | None = None,
    keepdim: bool = False,
    dtype: int | None = None,
) -> Tensor:
    if dtype not in {None, _FLOAT32}:
        raise NotDataError("numbers of another type than float32")
    return norm(net, self, ord, dim or [], keepdim)


# --- shapes ---------------------------------------------------------------------


def size(net: Network, self: Tensor, dim: int | None = None) -> int | list[int]:
    del net
    return list(self.shape) if dim is None else self.shape[self.axis(dim)]


def dim(net: Network, self: Tensor) -> int:
    del net
    return self.rank


def numel(net: Network, self: Tensor) -> int:
    del net
    return math.prod(self.shape)


def _reshaped(net: Network, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    if math.prod(shape) != math.prod(x.shape):
        raise NotDataError(
            f"{shown(x.shape)} in the shape {shown(shape)}, which is of another size, or "
            "of a fixed number of images"
        )
    open_sides = [at for at, side in enumerate(shape) if side % BATCH == 0]
    if len(open_sides) > 1:
        raise NotDataError(f"the shape {shown(shape)}")
    wanted = [-1 if at in open_sides else side for at, side in enumerate(shape)]
    return net.view("Reshape", [x, np.array(wanted, np.int64)], shape)


def reshape(net: Network, self: Tensor, shape: list[int]) -> Tensor:
    sides = list(shape)
    if sides.count(-1) == 1:
        known = math.prod(side for side in sides if side != -1)
        if known <= 0 or math.prod(self.shape) % known:
            raise NotDataError(f"{shown(self.shape)} in the shape {shape}")
        sides[sides.index(-1)] = math.prod(self.shape) // known
    return _reshaped(net, self, tuple(sides))


def view(net: Network, self: Tensor, size: list[int]) -> Tensor:
    return reshape(net, self, size)


def flatten(
    net: Network, self: Tensor, start_dim: int = 0, end_dim: int = -1
) -> Tensor:
    start, end = self.axis(start_dim), self.axis(end_dim)
    middle = math.prod(self.shape[start : end + 1])
    return _reshaped(net, self, (*self.shape[:start], middle, *self.shape[end + 1 :]))


def unflatten(net: Network, self: Tensor, dim: int, sizes: list[int]) -> Tensor:
    axis = self.axis(dim)
    return reshape(net, self, [*self.shape[:axis], *sizes, *self.shape[axis + 1 :]])


def squeeze(net: Network, self: Tensor, dim: int) -> Tensor:
    axis = self.axis(dim)
    if self.shape[axis] != 1:
        return self
    return _reshaped(net, self, (*self.shape[:axis], *self.shape[axis + 1 :]))


def unsqueeze(net: Network, self: Tensor, dim: int) -> Tensor:
    if not -self.rank - 1 <= dim <= self.rank:
        raise NotDataError(f"the side {dim} of a tensor of {self.rank}")
    axis = dim % (self.rank + 1)
    shape = (*self.shape[:axis], 1, *self.shape[axis:])
    return net.view("Unsqueeze", [self, np.array([axis], np.int64)], shape)


def permute(net: Network, self: Tensor, dims: list[int]) -> Tensor:
    axes = [self.axis(dim) for dim in dims]
    if sorted(axes) != list(range(self.rank)):
        raise NotDataError(f"the order {dims} of {self.rank} sides")
    shape = tuple(self.shape[axis] for axis in axes)
    return net.view("Transpose", [self], shape, perm=axes)


def transpose(net: Network, self: Tensor, dim0: int, dim1: int) -> Tensor:
    one, other = self.axis(dim0), self.axis(dim1)
    order = list(range(self.rank))
    order[one], order[other] = order[other], order[one]
    return permute(net, self, order)


def t(net: Network, self: Tensor) -> Tensor:
    if self.rank != _MATRIX_RANK:
        raise NotDataError("t of more than a matrix")
    return transpose(net, self, 0, 1)


def expand(
    net: Network, self: Tensor, size: list[int], implicit: bool = False
) -> Tensor:
    del implicit
    if len(size) < self.rank:
        raise NotDataError(f"{shown(self.shape)} as wide as {size}")
    padded = (1,) * (len(size) - self.rank) + self.shape
    shape = tuple(
        have if side == -1 else side for have, side in zip(padded, size, strict=True)
    )
    if any(have not in {1, side} for have, side in zip(padded, shape, strict=True)):
        raise NotDataError(f"{shown(self.shape)} as wide as {shown(shape)}")
    return net.view("Expand", [self, net.sizes(shape)], shape)


def expand_as(net: Network, self: Tensor, other: Tensor) -> Tensor:
    return expand(net, self, list(other.shape))


def cat(net: Network, tensors: list[Tensor], dim: int = 0) -> Tensor:
    if not tensors:
        raise NotDataError("nothing joined")
    axis = tensors[0].axis(dim)
    rests = {(*x.shape[:axis], *x.shape[axis + 1 :]) for x in tensors}
    if len(rests) > 1 or len({x.rank for x in tensors}) > 1:
        raise NotDataError("tensors joined that do not fit")
    for x in tensors:
        _within_images(x, axis)
    shape = list(tensors[0].shape)
    shape[axis] = int(np.sum([x.shape[axis] for x in tensors]))
    return net.node("Concat", tensors, tuple(shape), axis=axis)


def stack(net: Network, tensors: list[Tensor], dim: int = 0) -> Tensor:
    return cat(net, [unsqueeze(net, x, dim) for x in tensors], dim)


def slice(
    net: Network,
    self: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    axis = self.axis(dim)
    side = self.shape[axis]
    if step < 1:
        raise NotDataError(f"a slice with the step {step}")
    first, last = (
        default if at is None else max(0, min(side, at + side if at < 0 else at))
        for at, default in ((start, 0), (end, side))
    )
    if (first, last, step) == (0, side, 1):
        return self
    _within_images(self, axis)
    shape = (*self.shape[:axis], len(range(first, last, step)), *self.shape[axis + 1 :])
    bounds = [np.array([at], np.int64) for at in (first, last, axis, step)]
    return net.view("Slice", [self, *bounds], shape)


def narrow(net: Network, self: Tensor, dim: int, start: int, length: int) -> Tensor:
    return slice(net, self, dim, start, start + length)


def select(net: Network, self: Tensor, dim: int, index: int) -> Tensor:
    axis = self.axis(dim)
    _within_images(self, axis)
    if not -self.shape[axis] <= index < self.shape[axis]:
        raise NotDataError(f"the element {index} of {self.shape[axis]}")
    shape = (*self.shape[:axis], *self.shape[axis + 1 :])
    index %= self.shape[axis]
    return net.view("Gather", [self, np.array(index, np.int64)], shape, axis=axis)


def index(net: Network, self: Tensor, indices: list[np.ndarray]) -> Tensor:
    if len(indices) != 1 or indices[0].size > MAX_INDEX:
        raise NotDataError("an index of several sides")
    places, side = indices[0], self.shape[0]
    _within_images(self, 0)
    if places.size and not -side <= int(places.min()) <= int(places.max()) < side:
        raise NotDataError(f"an index beyond {side} elements")
    shape = (*places.shape, *self.shape[1:])
    return net.node("Gather", [self, places], shape, axis=0)


def split_with_sizes(
    net: Network, self: Tensor, split_sizes: list[int], dim: int = 0
) -> list[Tensor]:
    axis = self.axis(dim)
    starts = np.cumsum([0, *split_sizes]).tolist()
    if len(split_sizes) > 1024 or starts[-1] != self.shape[axis]:  # noqa: PLR2004 - far above any network's
        raise NotDataError(f"{shown(self.shape)} in parts of {split_sizes}")
    return [
        narrow(net, self, axis, start, length)
        for start, length in zip(starts, split_sizes, strict=False)
    ]


def split(net: Network, self: Tensor, split_size: int, dim: int = 0) -> list[Tensor]:
    side = self.shape[self.axis(dim)]
    if split_size < 1 or side % BATCH == 0:
        raise NotDataError(f"{shown(self.shape)} in parts of {split_size}")
    whole, rest = divmod(side, split_size)
    sizes = [split_size] * min(whole, 1025) + [rest] * bool(rest)
    return split_with_sizes(net, self, sizes, dim)


def chunk(net: Network, self: Tensor, chunks: int, dim: int = 0) -> list[Tensor]:
    if chunks < 1:
        raise NotDataError(f"{chunks} parts")
    return split(net, self, -(-self.shape[self.axis(dim)] // chunks), dim)


def unbind(net: Network, self: Tensor, dim: int = 0) -> list[Tensor]:
    count = self.shape[self.axis(dim)]
    if count > 1024:  # noqa: PLR2004 - far above any network's
        raise NotDataError(f"{shown(self.shape)} in its parts")
    return [select(net, self, dim, at) for at in range(count)]


def roll(net: Network, self: Tensor, shifts: list[int], dims: list[int]) -> Tensor:
    if len(shifts) != len(dims):
        raise NotDataError("a roll of other sides than shifts")
    result = self
    for shift, at in zip(shifts, dims, strict=True):
        side = self.shape[self.axis(at)]
        _within_images(self, self.axis(at))
        if cut := -shift % side:
            parts = [slice(net, result, at, cut), slice(net, result, at, 0, cut)]
            result = cat(net, parts, at)
    return result


def pad(
    net: Network,
    self: Tensor,
    pad: list[int],
    mode: str = "constant",
    value: float | None = None,
) -> Tensor:
    if mode != "constant":
        raise NotDataError(f"a padding of the mode {mode}")
    return _padded(net, self, pad, value or 0.0)


def _padded(net: Network, x: Tensor, sides: list[int], value: float) -> Tensor:
    """Pads the last sides first, as torch counts them."""
    before, after = [0] * x.rank, [0] * x.rank
    if len(sides) % 2 or len(sides) > 2 * x.rank:
        raise NotDataError(f"a padding of {len(sides) // 2} sides of {x.rank}")
    for at in range(len(sides) // 2):
        before[-1 - at], after[-1 - at] = sides[2 * at], sides[2 * at + 1]
    if not any(sides):
        return x
    if before[0] or after[0]:
        raise NotDataError("a padding of a batch")
    shape = tuple(
        side + one + other
        for side, one, other in zip(x.shape, before, after, strict=True)
    )
    amounts = np.array([*before, *after], np.int64)
    return net.node("Pad", [x, amounts, number(value)], shape)


def constant_pad_nd(
    net: Network, self: Tensor, pad: list[int], value: float = 0
) -> Tensor:
    return _padded(net, self, pad, value)


def _as_it_is(net: Network, self: Tensor) -> Tensor:
    del net
    return self


def contiguous(net: Network, self: Tensor, memory_format: int = 0) -> Tensor:
    del net, memory_format
    return self


def clone(net: Network, self: Tensor, memory_format: int | None = None) -> Tensor:
    del memory_format
    return net.node("Identity", [self], self.shape)


def to(net: Network, self: Tensor, dtype: int, *options: bool | int | None) -> Tensor:
    del net, options
    if dtype != _FLOAT32:
        raise NotDataError("numbers of another type than float32")
    return self


def type_as(net: Network, self: Tensor, other: Tensor) -> Tensor:
    del net, other
    return self


OPERATORS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        *(add, sub, rsub, mul, div, floor_divide, remainder, pow, square, rsqrt),
        *(addcmul, ceil, floor, index),
        *(matmul, addmm, linear, conv2d, _convolution, _convolution_mode),
        *(batch_norm, layer_norm, dropout, softmax, log_softmax),
        *(scaled_dot_product_attention, silu, mish, gelu, clamp, clamp_min, clamp_max),
        *(hardtanh, relu6, hardsigmoid, hardswish, leaky_relu, elu),
        *(adaptive_avg_pool2d, max_pool2d, avg_pool2d, mean, sum, amax, norm),
        *(linalg_vector_norm, size, dim, numel, reshape, view, flatten, unflatten),
        *(squeeze, unsqueeze, permute, transpose, t, expand, expand_as, cat, stack),
        *(slice, narrow, select, split_with_sizes, split, chunk, unbind, roll, pad),
        *(constant_pad_nd, contiguous, clone, to, type_as),
    )
} | {
    "conv1d": conv2d,
    "bmm": matmul,
    "mm": matmul,
    "feature_dropout": dropout,
    "detach": _as_it_is,
    "relu": _unary("Relu"),
    "sigmoid": _unary("Sigmoid"),
    "tanh": _unary("Tanh"),
    "exp": _unary("Exp"),
    "log": _unary("Log"),
    "sqrt": _unary("Sqrt"),
    "abs": _unary("Abs"),
    "neg": _unary("Neg"),
    "erf": _unary("Erf"),
    "reciprocal": _unary("Reciprocal"),
    "selu": _unary("Selu"),
    "softplus": _unary("Softplus"),
}
# These may write their result over their first argument: ``relu_``, ``add_``, ….
IN_PLACE = frozenset(
    {
        *("add", "sub", "mul", "div", "relu", "relu6", "sigmoid", "tanh", "silu"),
        *("mish", "gelu", "clamp", "clamp_min", "clamp_max", "hardtanh", "hardsigmoid"),
        *("hardswish", "leaky_relu", "elu", "selu", "dropout", "exp", "sqrt", "neg"),
    }
)
