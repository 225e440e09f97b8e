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

from evenodd.encoders.head import align_head, label_names
from evenodd.task import Task

SENTENCEPIECE = ("*.model", "*.spm")


def load_encoder(
    source: Path, task: Task, *, attention: str = "eager", dropout: float | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A sequence classifier over the encoder in `source`, with a head for the labels, and its tokenizer.

    Args:
        source: a folder (see `evenodd.encoders.files.resolve_model`).
        task: its labels become the classifier's, in their order; a head that was fitted for them is kept.
        attention: transformers' attention implementation; eager is the fastest for short texts on a CPU.
        dropout: of hidden states and attention; None leaves the config's.

    Raises:
        ValueError: the folder holds no encoder that transformers can classify sequences with, or no tokenizer.
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
    """The tokenizer of a folder.

    Raises:
        ValueError: there is none, or it cannot be read; where sentencepiece is lacking, how to install it.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    except Exception as error:
        pieces = [path.name for pattern in SENTENCEPIECE for path in Path(folder).glob(pattern)]
        way = f"its tokenizer cannot be loaded ({first_line(error)})"
        if pieces and not (Path(folder) / "tokenizer.json").is_file():
            way = f"its tokenizer is {pieces[0]} alone, which needs: pip install sentencepiece protobuf"
        raise ValueError(f"teacher='{folder}': {way}.") from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ValueError(f"teacher='{folder}': there is no tokenizer in it. Copy the model's tokenizer.json there.")
    return tokenizer


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def best_attention(device: str, *, maps: bool = False) -> str:
    """transformers' attention implementation for training on a device.

    torch's fused attention has no backward pass on a CPU that is worth its name (16 ms where eager takes 3, 28 rows of
    23 tokens in bfloat16); on a GPU it is the fast one, but gives no attention maps.

    Args:
        device: `cpu` or `cuda`.
        maps: whether attention maps are compared.
    """
    return "sdpa" if device == "cuda" and not maps else "eager"


def override_dropout(model: PreTrainedModel, dropout: float | None) -> None:
    """Sets every dropout of a model that is there already; None changes nothing."""
    set_dropout(model.config, dropout)
    for module in model.modules() if dropout is not None else ():
        if isinstance(module, nn.Dropout):
            module.p = float(dropout or 0)


def set_dropout(config: Any, dropout: float | None) -> None:
    """Sets every dropout that a family's config names; None changes nothing."""
    if dropout is None:
        return
    for key in vars(config):
        if key.endswith(("dropout", "dropout_prob")) and isinstance(getattr(config, key), int | float):
            setattr(config, key, dropout)


def encoder_layers(model: nn.Module) -> nn.ModuleList:
    """The stack of layers of any encoder family: the one ModuleList as long as the config says.

    Raises:
        ValueError: there is none, or several (layers are shared, or this is no encoder).
    """
    return cast(nn.ModuleList, model.get_submodule(layers_path(model)))


def layers_path(model: nn.Module) -> str:
    """Dotted name of the stack of layers, `bert.encoder.layer` for a BERT.

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
            f"{type(model).__name__}: {len(top)} lists of {depth} layers found, one is expected. "
            "Encoders that share their layers (ALBERT) cannot be halved."
        )
    return top[0]


def word_embeddings(model: PreTrainedModel) -> nn.Module:
    """The table of word embeddings."""
    return model.get_input_embeddings()


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """All parameters, and those that are trained."""
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
