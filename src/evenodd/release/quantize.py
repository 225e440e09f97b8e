"""Smaller, faster graphs: float16 for CUDA, int8 for the CPU with several recipes to choose from by measurement.

Weights of int8 graphs have 7 bits. With 8 bits, a processor without VNNI (AVX2, early AVX-512) adds pairs of products
in 16 bits, which can saturate, so that the graph answers differently than on the machine where it was measured. With
7 bits no sum saturates: integer products are exact and equal on every processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers.float16 import convert_float_to_float16

from evenodd.release.encode import Feeds
from evenodd.release.graph import quiet_libraries
from evenodd.release.outliers import set_outliers_apart, widest_values

PRODUCTS = ("MatMul", "Gemm", "Attention")


@dataclass(frozen=True)
class Int8Recipe:
    """One way to quantise a lean float32 graph.

    Attributes:
        name: name in the table of candidates.
        method: `dynamic` uses one range of activations per batch, `blocks` a range per row and block of columns.
        outliers_apart: whether to separate the widest activations first, see `outliers.py`.
        float_outputs: whether to leave the second product of every feed-forward part, with the widest inputs, in float.
        fallback: whether to try it only if no earlier recipe passed its gate, because it is slower by construction.
    """

    name: str
    method: Literal["dynamic", "blocks"] = "dynamic"
    outliers_apart: bool = False
    float_outputs: bool = False
    fallback: bool = False


INT8_RECIPES = (
    Int8Recipe("dynamic, outliers apart", outliers_apart=True),
    Int8Recipe("dynamic", fallback=True),
    Int8Recipe("dynamic, outputs in float", float_outputs=True, fallback=True),
    Int8Recipe("blocks", method="blocks", fallback=True),
)


def write_fp16(source: Path, path: Path) -> Path:
    """Converts weights and arithmetic to float16; inputs and logits keep their types."""
    with quiet_libraries():
        graph = convert_float_to_float16(onnx.load(str(source)), keep_io_types=True)
    onnx.save(graph, str(path))
    return path


def write_int8(source: Path, path: Path, recipe: Int8Recipe, calibration: Sequence[Feeds] = ()) -> Path:
    """Quantises the weights of matrix products; pooler and classifier stay in float.

    Args:
        source: a lean float32 graph.
        path: the file to write.
        recipe: the recipe.
        calibration: padded batches of training texts, for recipes that separate outliers.

    Raises:
        ValueError: the recipe separates outliers, and there are no calibration texts.
    """
    if recipe.outliers_apart and not calibration:
        raise ValueError(f"int8 {recipe.name}: calibration_texts is empty. Pass training texts.")
    graph = onnx.load(str(source))
    del graph.graph.value_info[:]
    left = set_outliers_apart(graph, widest_values(source, calibration)) if recipe.outliers_apart else []
    left += head_products(graph) + (narrowing_products(graph) if recipe.float_outputs else [])
    left += [f"{name}_MatMul" for name in left]  # the quantizer's name for a converted Gemm
    with quiet_libraries():
        (_write_blocks if recipe.method == "blocks" else _write_dynamic)(graph, path, left)
    return path


def _write_dynamic(graph: onnx.ModelProto, path: Path, left: list[str]) -> None:
    """Weights with 7 bits per output channel, activations as uint8 over the batch."""
    quantize_dynamic(
        graph,
        str(path),
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=list(PRODUCTS),
        nodes_to_exclude=left,
        extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
    )


def _write_blocks(graph: onnx.ModelProto, path: Path, left: list[str]) -> None:
    """Weights as int8 per block of 32, activations as int8 per row and block."""
    quantizer = MatMulNBitsQuantizer(
        graph, bits=8, block_size=32, is_symmetric=True, accuracy_level=4, nodes_to_exclude=left
    )
    quantizer.process()
    quantizer.model.save_model_to_file(str(path))


def head_products(graph: onnx.ModelProto) -> list[str]:
    """Names of pooler and classifier products: those after the first token is selected, or the mean is computed.

    They are two per mille of the work and next to the logits, so int8 would gain nothing there.
    """
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    normed = [node for node in graph.graph.node if "LayerNormalization" in node.op_type]
    found: list[str] = []
    waiting = list(normed[-1].output[:1]) if normed else []
    while waiting:
        for node in users.get(waiting.pop(), []):
            if node.op_type in PRODUCTS:
                found.append(node.name)
            waiting.extend(node.output)
    return list(dict.fromkeys(found))


def narrowing_products(graph: onnx.ModelProto) -> list[str]:
    """Names of products whose weight has more rows than columns: the second products of the feed-forward parts."""
    weights = _matrices(graph)
    shapes = {n.name: weights[n.input[1]] for n in graph.graph.node if n.op_type == "MatMul" and n.input[1] in weights}
    return [name for name, (rows, columns) in shapes.items() if rows > columns]


def _matrices(graph: onnx.ModelProto) -> dict[str, tuple[int, int]]:
    """Shapes of the constant matrices by name."""
    return {t.name: (t.dims[0], t.dims[1]) for t in graph.graph.initializer if len(t.dims) == 2}
