"""What a TorchScript network may do: the operations that compute, and no others.

The lists hold what the source of traced and scripted classifiers is made of (checked
against EfficientNets, ResNets, MobileNets, Inception, ConvNeXt and ViT of several
packages): arithmetic on tensors, their shapes, layers, activations, and the little that
scripts need to speak of lists and errors. An operation is left out if it reads or writes
anything but tensors, or reaches the memory behind a tensor.
"""

from __future__ import annotations

import ast
import functools

ROOTS = frozenset({"torch", "ops", "CONSTANTS", "__torch__"})
BASES = frozenset({"Module", "NamedTuple"})
BY_NAME = frozenset({"getattr", "hasattr"})
CLASS_NAMES = frozenset(
    {
        *("__parameters__", "__buffers__", "__annotations__", "__constants__"),
        *("__forward_hooks__", "__forward_pre_hooks__"),
    }
)

# Names that need no definition: types, and TorchScript's own functions.
BUILTINS = frozenset(
    {
        *("Tensor", "List", "Tuple", "Dict", "Optional", "Union", "Any", "NoneType"),
        *("Final", "Device", "number", "Number", "int", "float", "bool", "str"),
        *("complex", "inf", "nan", "annotate", "unchecked_cast", "uninitialized"),
        *("getattr", "hasattr", "isinstance", "range", "enumerate", "zip", "len"),
        *("min", "max", "abs", "round", "tuple", "list", "dict", "unwrap_optional"),
    }
)

SYNTAX = (
    *(ast.Load, ast.Store, ast.Name, ast.Attribute, ast.Constant, ast.Subscript),
    *(ast.Slice, ast.List, ast.Tuple, ast.Dict, ast.Call, ast.keyword),
    *(ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.Return, ast.Pass),
    *(ast.If, ast.IfExp, ast.For, ast.While, ast.arguments, ast.arg),
    *(ast.UnaryOp, ast.unaryop, ast.BinOp, ast.operator, ast.BoolOp, ast.boolop),
    *(ast.Compare, ast.cmpop),
)

_ARITHMETIC = """
    add sub rsub mul div true_divide floor_divide floordiv remainder fmod pow neg abs exp expm1
    log log2 log1p sqrt rsqrt reciprocal square floor ceil round trunc sign erf sin cos
    clamp clamp_min clamp_max minimum maximum max min sum mean var std var_mean prod norm
    linalg_vector_norm argmax argmin amax amin topk sort cumsum addcmul addcdiv lerp
    eq ne lt le gt ge logical_and logical_or logical_not logical_xor bitwise_and
    bitwise_or bitwise_not any all isnan isinf isfinite where masked_fill outer dot mv
"""
_SHAPES = """
    size dim numel stride shape view view_as reshape reshape_as flatten unflatten ravel
    permute transpose t swapaxes movedim squeeze unsqueeze expand expand_as repeat
    repeat_interleave cat concat stack chunk split split_with_sizes tensor_split unbind
    slice select narrow index index_select gather roll flip rot90 tile broadcast_to
    contiguous clone detach pad constant_pad_nd reflection_pad2d replication_pad2d
    pixel_shuffle pixel_unshuffle channel_shuffle unfold im2col meshgrid tril triu
"""
_LAYERS = """
    _convolution convolution conv1d conv2d conv3d conv_transpose2d batch_norm layer_norm
    native_layer_norm group_norm instance_norm rms_norm local_response_norm linear addmm
    matmul mm bmm baddbmm einsum tensordot bilinear embedding dropout feature_dropout
    alpha_dropout max_pool1d max_pool2d avg_pool1d avg_pool2d adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d lp_pool2d
    upsample_nearest2d upsample_bilinear2d upsample_bicubic2d interpolate
    scaled_dot_product_attention _native_multi_head_attention normalize cosine_similarity
"""
_ACTIVATIONS = """
    relu relu6 hardtanh hardswish hardsigmoid silu sigmoid tanh gelu glu elu selu celu
    mish leaky_relu prelu rrelu softplus softsign threshold softmax log_softmax _softmax
    log_sigmoid logsigmoid swish
"""
_MAKING = """
    zeros ones full empty zeros_like ones_like full_like empty_like new_zeros new_ones
    new_full new_empty arange linspace eye tensor scalar_tensor rand rand_like randn
    bernoulli device to type_as float int bool half double long item copy fill zero dtype
    layout requires_grad is_cuda is_floating_point is_grad_enabled is_autocast_enabled
    is_contiguous Float Int Bool FloatImplicit IntImplicit ScalarImplicit
"""
_SCRIPTING = """
    len append extend insert pop keys values items get format warn join str lower upper
    startswith endswith strip ord list dict copy index count reverse sorted hash
    __is__ __isnot__ __not__ __and__ __or__ __xor__ __contains__ __getitem__
    __derive_index __range_length _unwrap_optional
"""
# Harmless ones whose names modules and attributes of networks bear, too.
_NAMESAKES = """
    absolute angle center clear clip cross data diff divide find gamma grad hstack id imag
    inner logit median mode multiply name negative owner range real remove replace subtract
    trace type update vstack
"""


def _with_in_place(names: str) -> frozenset[str]:
    return frozenset(f"{name}{end}" for name in names.split() for end in ("", "_"))


# Operations on tensors and plain values: ``torch.NAME(x)``, ``x.NAME()``.
TENSOR = (
    _with_in_place(_ARITHMETIC + _LAYERS + _ACTIVATIONS + _MAKING)
    | frozenset(_SHAPES.split())
    | frozenset({"squeeze_", "unsqueeze_", "transpose_", "t_", "detach_"})
    | frozenset((_SCRIPTING + _NAMESAKES).split())
)

# Operations that are named in full.
NAMESPACED = frozenset(f"ops.aten.{name}" for name in TENSOR) | frozenset(
    f"ops.prim.{name}"
    for name in (
        *("NumToTensor", "RaiseException", "abs", "data", "device", "dtype", "index"),
        *("is_cpu", "is_cuda", "is_meta", "is_mkldnn", "is_nested", "is_quantized"),
        *("is_sparse", "layout", "max", "min", "name", "rangelist", "requires_grad"),
        *("TupleIndex", "TupleUnpack", "type", "unchecked_unwrap_optional"),
        *("unchecked_cast", "itemsize"),
    )
)


@functools.cache
def registered() -> frozenset[str]:
    """Returns the bare names of all operations that a tensor's method can be.

    Those of other namespaces are only reached as ``ops.NAMESPACE.NAME``.
    """
    import torch  # noqa: PLC0415 - heavy; only when an archive is checked

    schemas = torch._C._jit_get_all_schemas()  # noqa: SLF001 - the registry has no public door
    names = (schema.name.partition("::") for schema in schemas)
    return frozenset(name for space, _, name in names if space in {"aten", "prim"})
