"""Reads a frozen TensorFlow graph as data, before TensorFlow sees it.

A graph is a program: TensorFlow has operations that read and write any file. So only
those are taken that detectors of the TensorFlow object-detection API need, from which
MegaDetector v2 to v4 were exported: all of them compute numbers from numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.runtime import protobuf
from classification.runtime.errors import ModelError
from classification.runtime.protobuf import DamagedMessageError

if TYPE_CHECKING:
    from pathlib import Path

# What ``exporter.py`` and the graphs that it freezes (Faster R-CNN and SSD: feature
# extractors, proposals, crops, suppression of overlaps in loops) are written with, in
# https://github.com/tensorflow/models/tree/master/research/object_detection, under the
# names that TensorFlow 1.4 to 1.15 gives their operations.
_OPERATIONS = """
Abs Add AddN AddV2 All Any ArgMax Assert AvgPool BatchMatMul BatchMatMulV2
BatchToSpaceND BiasAdd BroadcastArgs BroadcastTo Cast Ceil ClipByValue
CombinedNonMaxSuppression Concat ConcatV2 Const Conv2D CropAndResize
DepthwiseConv2dNative Div DivNoNan Elu Enter Equal Exit Exp ExpandDims Fill Floor
FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd
GatherV2 Greater GreaterEqual Identity IdentityN InvertPermutation Less LessEqual
LinSpace Log LogicalAnd LogicalNot LogicalOr LoopCond MatMul Max MaxPool MaxPoolV2
Maximum Mean Merge Min Minimum Mod Mul Neg NextIteration NoOp NonMaxSuppression
NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5
NotEqual OneHot OnesLike Pack Pad PadV2 Placeholder PlaceholderWithDefault Pow Prod
Range Rank RealDiv Reciprocal Relu Relu6 Reshape ResizeBicubic ResizeBilinear
ResizeNearestNeighbor Reverse ReverseV2 Round Rsqrt ScatterNd Select SelectV2 Shape
ShapeN Sigmoid Sign Size Slice Softmax Softplus SpaceToBatchND SpaceToDepth
SparseToDense Split SplitV Sqrt Square SquaredDifference Squeeze StopGradient
StridedSlice Sub Sum Switch Tanh TensorArrayConcatV3 TensorArrayGatherV3
TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3
TensorArrayV3 TensorArrayWriteV3 Tile TopK TopKV2 Transpose TruncateDiv Unique
Unpack Where ZerosLike
"""
OPERATIONS = frozenset(_OPERATIONS.split())

# Field numbers: graph.proto, node_def.proto, function.proto and attr_value.proto in
# https://github.com/tensorflow/tensorflow/tree/master/tensorflow/core/framework
_SCHEMA = {
    "graph": {1: "node", 2: "library"},
    "library": {1: "function"},
    "function": {3: "node", 5: "attribute"},
    "node": {5: "attribute"},
    "attribute": {2: "value"},
    "value": {1: "list", 10: "call"},
    "list": {9: "call"},
    "call": {2: "attribute"},
}
_NODE_NAME, _NODE_OPERATION = 1, 2
_CALL_NAME = 1


def check(path: Path, *, trust: bool) -> None:
    """Check a frozen graph before TensorFlow sees it.

    Args:
        path: a ``.pb`` file.
        trust: take any operation.

    Raises:
        ModelError: it cannot be read or is no graph; or it holds an operation, in
            itself or in a function, that is not one of ``OPERATIONS``, and is not
            trusted.
    """
    try:
        with protobuf.opened(path) as message:
            operation_by_node = _operations(message)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except DamagedMessageError as error:
        raise ModelError(
            f"{path}: not a frozen graph of MegaDetector v2 to v4, or damaged ({error})"
        ) from error
    for operation, node in sorted(operation_by_node.items()):
        if operation not in OPERATIONS and not trust:
            raise ModelError(
                f"{path}: the node {node!r} is the operation {operation!r}, which no "
                "graph of MegaDetector v2 to v4 needs, and which might read or write "
                "files. If you know where the file comes from, give --trust-model"
            )


def _operations(message: protobuf.Message) -> dict[str, str]:
    """Return each operation and function that is called, and one node that calls it."""
    found: dict[str, str] = {}
    for kind, values in message.parts("graph", _SCHEMA):
        if kind == "node":
            name = message.text(values.get(_NODE_NAME))
            found.setdefault(message.text(values.get(_NODE_OPERATION)), name)
        elif kind == "call":
            found.setdefault(message.text(values.get(_CALL_NAME)), "")
    if not found:
        raise DamagedMessageError("it holds no node")
    return found
