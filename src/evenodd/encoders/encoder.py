"""Encoders: load one, find its layers, count its parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from evenodd.classifier.faults import first_line
from evenodd.encoders.head import align_head, label_names
from evenodd.task import Task

SENTENCEPIECE = ("*.model", "*.spm")


def load_encoder(
    source: Path, task: Task, *, attention: str = "eager", dropout: float | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads the encoder in `source` as a sequence classifier with a head for the labels, and its tokenizer.

    Args:
        source: a folder (see `evenodd.encoders.files.resolve_model`).
        task: its labels become the classifier's, in their order; a head that was already fitted for them is kept.
        attention: transformers' attention implementation; eager is the fastest for short texts on a CPU.
        dropout: of hidden states and attention; None: the config's value.

    Raises:
        ValueError: the folder holds no tokenizer, or no encoder that transformers loads as a sequence classifier.
    """
    try:
        config = AutoConfig.from_pretrained(source)
        own = label_names(config)
        config.num_labels = len(task.labels)
        config.id2label = dict(enumerate(task.labels))
        config.label2id = {name: number for number, name in enumerate(task.labels)}
        config.problem_type = task.problem_type
        set_dropout(config, dropout)
        model = AutoModelForSequenceClassification.from_pretrained(
            source, config=config, attn_implementation=attention, dtype=torch.float32, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"teacher='{source}': not an encoder that can be loaded ({first_line(error)}).") from error
    encoder_layers(model)
    align_head(model, own, task.labels)
    return model, load_tokenizer(source)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of a folder.

    Raises:
        ValueError: the tokenizer is missing or cannot be read; if it needs sentencepiece, the message says so.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # tokenizers and sentencepiece raise Exception itself
        pieces = [path.name for pattern in SENTENCEPIECE for path in Path(folder).glob(pattern)]
        way = f"its tokenizer cannot be loaded ({first_line(error)})"
        if pieces and not (Path(folder) / "tokenizer.json").is_file():
            way = f"its tokenizer is only a {pieces[0]}, which needs: pip install sentencepiece protobuf"
        raise ValueError(f"teacher='{folder}': {way}.") from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ValueError(f"teacher='{folder}': there is no tokenizer in it. Copy the model's tokenizer.json there.")
    return tokenizer


def best_attention(device: str, *, maps: bool = False) -> str:
    """transformers' attention implementation for training on a device.

    The backward pass of torch's fused attention is slow on a CPU (16 ms against 3 ms for eager, 28 rows of 23 tokens in
    bfloat16). On a GPU fused attention is faster, but it returns no attention maps.

    Args:
        device: `cpu` or `cuda`.
        maps: whether attention maps are needed.
    """
    return "sdpa" if device == "cuda" and not maps else "eager"


def override_dropout(model: PreTrainedModel, dropout: float | None) -> None:
    """Sets every dropout of a loaded model; None changes nothing."""
    set_dropout(model.config, dropout)
    for module in model.modules() if dropout is not None else ():
        if isinstance(module, nn.Dropout):
            module.p = float(dropout or 0)


def set_dropout(config: Any, dropout: float | None) -> None:
    """Sets every dropout in a config, under the names of all families; None changes nothing."""
    if dropout is None:
        return
    for key in vars(config):
        if key.endswith(("dropout", "dropout_prob")) and isinstance(getattr(config, key), int | float):
            setattr(config, key, dropout)


def encoder_layers(model: nn.Module) -> nn.ModuleList:
    """The list of layers of any encoder family: the only ModuleList with the config's number of layers.

    Raises:
        ValueError: there is no such list, or more than one (layers are shared, or this is no encoder).
    """
    return cast(nn.ModuleList, model.get_submodule(layers_path(model)))


def layers_path(model: nn.Module) -> str:
    """Dotted name of the list of layers, `bert.encoder.layer` for a BERT.

    Raises:
        ValueError: see `encoder_layers`.
    """
    config: Any = model.config
    depth = config.num_hidden_layers
    found = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth and len({type(layer) for layer in module}) == 1
    ]
    top = [name for name in found if not any(name.startswith(f"{other}.") for other in found if other != name)]
    if len(top) != 1:
        raise ValueError(
            f"{type(model).__name__}: found {len(top)} lists of {depth} layers, expected one. "
            "Encoders that share their layers (ALBERT) cannot be halved."
        )
    return top[0]


def word_embeddings(model: PreTrainedModel) -> nn.Module:
    """The word embeddings."""
    return model.get_input_embeddings()


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """Number of all parameters, and of the trainable ones."""
    total = sum(p.numel() for p in model.parameters())
    return total, sum(p.numel() for p in model.parameters() if p.requires_grad)


def tensor_digests(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """SHA-256 of each tensor's bytes (float32 or as stored, C order), by name."""
    return {name: hashlib.sha256(_bytes(tensor)).hexdigest() for name, tensor in sorted(state.items())}


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """One SHA-256 over the names and digests of all tensors."""
    lines = (f"{name} {digest}\n" for name, digest in tensor_digests(state).items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
