"""Checks that an encoder can process the rows, before rows are tokenised and weights are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from evenodd.classifier.faults import first_line
from evenodd.encoders.encoder import layers_path, load_tokenizer

POSITION_TABLES = ("position_embeddings", "position_embedding", "embed_positions", "wpe")
SHOWN = 5


def check_encoder(folder: Path, max_length: int) -> None:
    """Refuses an encoder that cannot process the rows. The check takes a second: weights are not loaded.

    Args:
        folder: holds the configuration and the tokenizer.
        max_length: maximum number of tokens in a row.

    Raises:
        ValueError: the folder holds no encoder or no tokenizer; the tokenizer has no padding token, or token ids beyond
            the embeddings; there are fewer positions than `max_length`; or the list of layers is ambiguous. One message
            lists all faults.
    """
    tokenizer = load_tokenizer(folder)
    model = _without_weights(folder)
    faults = [*_token_faults(model, tokenizer), *_length_faults(model, max_length)]
    try:
        layers_path(model)
    except ValueError as error:
        faults.append(str(error).rstrip("."))
    if faults:
        raise ValueError(f"teacher='{folder}': {'; '.join(faults)}.")


def position_limit(model: nn.Module) -> int | None:
    """Maximum number of tokens that the position table allows; None for relative or rotary positions.

    If the table has a padding row, positions begin after it (RoBERTa, MPNet).
    """
    limits = [
        module.num_embeddings - (-1 if module.padding_idx is None else module.padding_idx) - 1
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in POSITION_TABLES
    ]
    return min(limits, default=None)


def _without_weights(folder: Path) -> PreTrainedModel:
    try:
        config = AutoConfig.from_pretrained(folder)
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"teacher='{folder}': not an encoder that can be loaded ({first_line(error)}).") from error
    return model


def _token_faults(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    faults = []
    if tokenizer.pad_token_id is None:
        faults.append("its tokenizer has no padding token: set tokenizer.pad_token and save it again")
    embeddings: Any = model.get_input_embeddings()
    rows = int(embeddings.num_embeddings)
    beyond = sorted(token for token, number in tokenizer.get_vocab().items() if number >= rows)
    if beyond:
        names = ", ".join(beyond[:SHOWN]) + (f" and {len(beyond) - SHOWN:,} more" if len(beyond) > SHOWN else "")
        faults.append(
            f"its tokenizer has tokens beyond the {rows:,} rows of its embeddings ({names}): call "
            "model.resize_token_embeddings(len(tokenizer)) and save it again, or remove these tokens"
        )
    return faults


def _length_faults(model: PreTrainedModel, max_length: int) -> list[str]:
    limit = position_limit(model)
    if limit is None or max_length <= limit:
        return []
    return [f"max_length={max_length}, but it has {limit} positions: pass -P data.max_length={limit} or less"]
