"""Traces a transformers classifier as an ONNX graph, with fused attention if the family allows it."""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions
from peft.tuners.tuners_utils import BaseTunerLayer

from evenodd.release.first_token import keep_first_token

log = logging.getLogger(__name__)

OPSET = 17
INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids")
MERGE_TOLERANCE = 1e-4


class _Logits(torch.nn.Module):
    """Wraps a model for tracing: positional inputs, logits as output."""

    def __init__(self, model: torch.nn.Module, inputs: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.inputs = tuple(inputs)

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return self.model(**dict(zip(self.inputs, tensors, strict=True))).logits


def is_unmerged(model: torch.nn.Module) -> bool:
    """Whether the model has adapters that are not merged."""
    return any(isinstance(module, BaseTunerLayer) for module in model.modules())


def merge_adapter(model: Any) -> Any:
    """Merges a PEFT model's adapter into a copy of its weights.

    Args:
        model: a PEFT model over a sequence classifier; it is not changed.

    Returns:
        A plain transformers model in eval mode, on the CPU, float32.

    Raises:
        ValueError: the model has no adapter to merge.
        RuntimeError: the merged model's logits differ from the adapter's.
    """
    if not is_unmerged(model):
        raise ValueError(f"model {type(model).__name__}: it has no adapter to merge. Export it as it is.")
    adapted = copy.deepcopy(model).cpu().float().eval()
    ids, mask = _trace_batch(adapted.config, width=17)
    with torch.inference_mode():
        expected = adapted(input_ids=ids, attention_mask=mask).logits
        merged = adapted.merge_and_unload().eval()
        distance = float((merged(input_ids=ids, attention_mask=mask).logits - expected).abs().max())
    scale = max(1.0, float(expected.abs().max()))
    if not distance <= MERGE_TOLERANCE * scale:
        raise RuntimeError(
            f"merging the adapter changed a logit by {distance:.2g} > {MERGE_TOLERANCE * scale:.2g}. Not exported."
        )
    return merged


def trace_graph(model: Any, inputs: Sequence[str], path: Path) -> Path:
    """Writes a float32 ONNX graph with dynamic batch and tokens, output `logits`.

    Args:
        model: a transformers sequence classifier; it is copied, not changed.
        inputs: ordered input names, from input_ids, attention_mask, token_type_ids.
        path: the file to write.

    Raises:
        ValueError: an adapter is not merged, or the model cannot be traced.
    """
    if is_unmerged(model):
        raise ValueError(
            f"model {type(model).__name__}: its adapter is not merged, and a graph would lose it. "
            "Call merge_adapter(model) first."
        )
    plain = copy.deepcopy(model).cpu().float().eval()
    plain.set_attn_implementation("eager")
    ids, mask = _trace_batch(plain.config, width=9)
    tensors = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    axes = {name: {0: "batch", 1: "tokens"} for name in inputs} | {"logits": {0: "batch"}}
    with quiet_libraries(), torch.inference_mode():
        torch.onnx.export(
            _Logits(plain, inputs).eval(),
            tuple(tensors[name] for name in inputs),
            str(path),
            input_names=list(inputs),
            output_names=["logits"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    _strip_traces_of_the_machine(path)
    return path


def _trace_batch(config: Any, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two rows of random ids, the second one padded: int64, (2, width) each."""
    generator = torch.Generator().manual_seed(0)
    pad = config.pad_token_id or 0
    ids = torch.randint(min(5, config.vocab_size - 1), config.vocab_size, (2, width), generator=generator)
    mask = torch.ones_like(ids)
    ids[1, width // 2 :] = pad
    mask[1, width // 2 :] = 0
    return ids, mask


def _strip_traces_of_the_machine(path: Path) -> None:
    """Removes comments and stack traces, which contain source paths."""
    graph = onnx.load(str(path))
    for node in graph.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in graph.graph.value_info:
        del value.metadata_props[:]
    del graph.metadata_props[:]
    del graph.graph.metadata_props[:]
    graph.doc_string = graph.graph.doc_string = ""
    onnx.save(graph, str(path))


def fuse_graph(source: Path, path: Path, config: Any) -> Path:
    """Fuses attention, layer norm and GELU with ONNX Runtime's transformers optimizer, for CUDA.

    Attention that the optimizer does not know (relative or rotary positions) is not fused.

    Args:
        source: a graph from `trace_graph`.
        path: the file to write.
        config: the model's config, for heads and width.
    """
    return _optimize(source, path, config, FusionOptions("bert"))


def lean_graph(source: Path, path: Path, config: Any) -> Path:
    """Writes the lean graph for the CPU: layer norm and GELU are fused, fusions with slower kernels are avoided, and
    the last layer is restricted to the first token if the classifier reads no other.

    On the CPU, SkipLayerNormalization, BiasGelu and the attention operators are slower than their parts around int8
    products (see EXPERIMENTS.md). A session would fuse residual and layer norm again, unless the residual is a Sum.

    Args:
        source: a graph from `trace_graph`.
        path: the file to write.
        config: the model's config, for heads and width.
    """
    options = FusionOptions("bert")
    options.enable_attention = False
    options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = False
    options.enable_bias_gelu = False
    _optimize(source, path, config, options)
    graph = onnx.load(str(path))
    with quiet_libraries():
        keep_first_token(graph)
    producers = {output: node for node in graph.graph.node for output in node.output}
    for node in graph.graph.node:
        residual = producers.get(node.input[0]) if node.op_type == "LayerNormalization" else None
        if residual is not None and residual.op_type == "Add":
            residual.op_type = "Sum"
    onnx.save(graph, str(path))
    return path


def _optimize(source: Path, path: Path, config: Any, options: FusionOptions) -> Path:
    """Runs the optimizer with the given fusions and cleans the file."""
    options.enable_embed_layer_norm = False
    with quiet_libraries():
        optimized = optimizer.optimize_model(
            str(source),
            model_type="bert",
            num_heads=config.num_attention_heads,
            hidden_size=config.hidden_size,
            optimization_options=options,
            opt_level=0,
        )
        optimized.save_model_to_file(str(path))
    _strip_traces_of_the_machine(path)
    return path


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Suppresses the log lines of ONNX Runtime's tools in the root logger: dozens per graph."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def graph_inputs(path: Path) -> tuple[str, ...]:
    """Input names of a graph, in the order of `INPUT_NAMES`."""
    names = {value.name for value in onnx.load(str(path), load_external_data=False).graph.input}
    return tuple(name for name in INPUT_NAMES if name in names)


def count_operators(path: Path) -> Counter[str]:
    """Number of occurrences of each operator in a graph."""
    return Counter(node.op_type for node in onnx.load(str(path), load_external_data=False).graph.node)


def model_inputs(model: Any, tokenizer: Any) -> tuple[str, ...]:
    """The inputs of the family's graph: those of the tokenizer that the model uses."""
    known = getattr(tokenizer, "model_input_names", INPUT_NAMES)
    has_types = getattr(model.config, "type_vocab_size", 0) and model.config.type_vocab_size > 1
    names = [name for name in INPUT_NAMES if name in known or name != "token_type_ids"]
    return tuple(name for name in names if name != "token_type_ids" or has_types)
