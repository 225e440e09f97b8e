"""Smaller, faster graphs: float16 for CUDA, int8 for the CPU, several recipes to choose from by measurement."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16

from evenodd.release.graph import quiet_libraries

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Int8Recipe:
    """One way to quantise.

    Attributes:
        name: as it stands in the table of candidates.
        fused: start from the fused graph.
        embeddings: also store the embedding tables in int8.
        float_head: leave pooler and classifier in float.
    """

    name: str
    fused: bool = False
    embeddings: bool = False
    float_head: bool = False


INT8_RECIPES = (
    Int8Recipe("dynamic"),
    Int8Recipe("dynamic fused", fused=True),
    Int8Recipe("dynamic float head", float_head=True),
)


def write_fp16(source: Path, path: Path) -> Path:
    """Converts weights and arithmetic to float16; inputs and logits keep their types."""
    graph = convert_float_to_float16(onnx.load(str(source)), keep_io_types=True)
    onnx.save(graph, str(path))
    return path


def write_int8(source: Path, path: Path, recipe: Int8Recipe) -> Path:
    """Quantises the weights of matrix products per channel, activations as they come.

    Args:
        source: float32 graph, fused or not as the recipe says.
        path: the file to write.
        recipe: what to leave out or take in.
    """
    graph = onnx.load(str(source))
    del graph.graph.value_info[:]
    with quiet_libraries():
        quantize_dynamic(
            graph,
            str(path),
            per_channel=True,
            reduce_range=False,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gemm", "Attention", *(["Gather"] if recipe.embeddings else [])],
            nodes_to_exclude=_head_nodes(graph) if recipe.float_head else [],
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    return path


def _head_nodes(graph: onnx.ModelProto) -> list[str]:
    """Matrix products after the last layer: pooler and classifier."""
    return [n.name for n in graph.graph.node if n.op_type in ("MatMul", "Gemm") and "/encoder/" not in n.name]
