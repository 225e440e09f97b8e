"""Three importance scores for the layers of a fitted classifier. Layers are numbered from 1.

`influence` needs one pass over the rows, `drop` one per layer, `greedy` one per remaining layer and round.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name

from evenodd.encoders.encoder import encoder_layers
from evenodd.encoders.layer_map import LayerMap, check_layer_map

log = logging.getLogger(__name__)

Scorer = Literal["influence", "drop", "greedy"]
TEMPERATURE = 2.0
TOKEN_BUDGET = 4096


class Rows(Protocol):
    """Token ids by row, for example a `evenodd.rows.TokenStore`."""

    @property
    def lengths(self) -> np.ndarray: ...

    def collate(self, rows: np.ndarray, pad_to_multiple: int = 8) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class Importance:
    """Scores of all layers, and the layers to keep.

    Attributes:
        scorer: name of the score.
        scores: one per layer, starting with layer 1; a higher score is more important.
        kept: layers to keep, ascending. For `greedy`, those not removed; their scores need not be the highest.
    """

    scorer: Scorer
    scores: tuple[float, ...]
    kept: LayerMap


def choose_important(
    model: Any, store: Rows, labels: np.ndarray, keep: int, scorer: Scorer, *, rows: int | None = None
) -> LayerMap:
    """The `keep` most important layers, ascending; see `score_layers`."""
    return score_layers(model, store, labels, keep, scorer, rows=rows).kept


def score_layers(
    model: Any, store: Rows, labels: np.ndarray, keep: int, scorer: Scorer, *, rows: int | None = None
) -> Importance:
    """Scores every layer of a fitted classifier.

    Args:
        model: sequence classifier of any encoder family with one list of layers; unchanged afterwards.
        store: token ids of the rows to score on (validation).
        labels: int64, (rows,).
        keep: layers to keep, 1 to the model's depth.
        scorer: `influence`: 1 - cosine between a layer's input and output, mean over real tokens. `drop`: rise of the
            label-balanced cross-entropy when only this layer is skipped, nats. `greedy`: layers are removed one by one,
            each time the one whose removal changes the softened predictions least; the score is the KL from the whole
            model's predictions after its removal (for a kept layer: if it were removed next), nats.
        rows: number of rows to score on, always the same sample; None: all rows.

    Raises:
        ValueError: the scorer is unknown, there are no rows, or `keep` exceeds the number of layers.

    Source: Men et al. 2024, arXiv 2403.03853 (block influence); Sajjad et al. 2023, arXiv 2004.03844 (dropping).
    """
    depth = len(encoder_layers(model))
    if not 1 <= keep <= depth:
        raise ValueError(f"depth={keep}: the model has {depth} layers; pass 1 to {depth}.")
    if scorer not in get_args(Scorer):
        raise ValueError(f"importance='{scorer}': {', '.join(get_args(Scorer))}.")
    chosen = _draw_rows(len(labels), rows)
    log.info("importance %s | %d layers | %d rows | keep %d", scorer, depth, len(chosen), keep)
    with _frozen(model):
        if scorer == "greedy":
            return _greedy(model, store, chosen, keep)
        scores = _influence(model, store, chosen) if scorer == "influence" else _drop(model, store, labels, chosen)
    return Importance(scorer, tuple(scores), highest(scores, range(1, depth + 1), keep))


def highest(scores: Any, layers: Any, count: int) -> LayerMap:
    """The `count` of the layers (from 1) with the highest scores, ascending; ties go to the lower layer."""
    ranked = sorted(layers, key=lambda layer: (-scores[layer - 1], layer))
    return tuple(sorted(ranked[:count]))


@contextmanager
def skipping(model: Any, skipped: LayerMap) -> Iterator[None]:
    """Removes some layers (from 1) from a model within a `with` block; they are always restored.

    Each is replaced in the list of layers by one that returns its input in the layer's output format.
    """
    layers = encoder_layers(model)
    if skipped:
        check_layer_map(skipped, len(layers))
    replaced = {number - 1: layers[number - 1] for number in skipped}
    widths = _return_widths(model, list(replaced.values()))
    try:
        for index, layer in replaced.items():
            layers[index] = _Skipped(layer, widths[layer])
        yield
    finally:
        for index, layer in replaced.items():
            layers[index] = layer


class _Skipped(nn.Module):
    """Returns the hidden states unchanged; every other attribute is looked up on the layer that it replaces."""

    def __init__(self, layer: nn.Module, width: int | None) -> None:
        super().__init__()
        self._stands_for, self._width = (layer,), width

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        states = _states_in(args, kwargs)
        return states if self._width is None else (states, *[None] * (self._width - 1))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._stands_for[0], name)


def _states_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    return args[0] if args else kwargs["hidden_states"]


def _states_out(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


@contextmanager
def _frozen(model: Any) -> Iterator[None]:
    """Evaluation mode without gradients; restores the previous mode."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def _return_widths(model: Any, layers: list[nn.Module]) -> dict[nn.Module, int | None]:
    """Length of the tuple that each layer returns, None for a bare tensor; measured on four tokens."""
    widths: dict[nn.Module, int | None] = {}

    def note(layer: nn.Module, args: Any, output: Any) -> None:
        widths[layer] = len(output) if isinstance(output, tuple) else None

    with ExitStack() as stack:
        for layer in layers:
            stack.callback(layer.register_forward_hook(note).remove)
        stack.enter_context(_frozen(model))
        device = next(model.parameters()).device
        ids = torch.ones((1, 4), dtype=torch.int64, device=device)
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return widths


def _influence(model: Any, store: Rows, rows: np.ndarray) -> list[float]:
    layers = encoder_layers(model)
    sums, tokens, mask = np.zeros(len(layers)), 0.0, torch.ones(0)

    def add(index: int) -> Callable[..., None]:
        def hook(layer: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            before, after = _states_in(args, kwargs).float(), _states_out(output).float()
            distance = 1 - F.cosine_similarity(before, after, dim=-1)
            sums[index] += float((distance * mask).sum())

        return hook

    with ExitStack() as stack:
        for index, layer in enumerate(layers):
            stack.callback(layer.register_forward_hook(add(index), with_kwargs=True).remove)
        for _, batch in _batches(model, store, rows):
            mask = batch["attention_mask"].float()
            tokens += float(mask.sum())
            model(**batch)
    return [float(value) for value in sums / tokens]


def _drop(model: Any, store: Rows, labels: np.ndarray, rows: np.ndarray) -> list[float]:
    whole = _balanced_loss(_log_probabilities(model, store, rows), labels[rows])
    scores = []
    for layer in range(1, len(encoder_layers(model)) + 1):
        with skipping(model, (layer,)):
            scores.append(_balanced_loss(_log_probabilities(model, store, rows), labels[rows]) - whole)
    return scores


def _greedy(model: Any, store: Rows, rows: np.ndarray, keep: int) -> Importance:
    depth = len(encoder_layers(model))
    whole = _log_probabilities(model, store, rows, TEMPERATURE)
    scores: dict[int, float] = {}
    removed: LayerMap = ()
    while True:
        left = [layer for layer in range(1, depth + 1) if layer not in removed]
        cost = {layer: _divergence(model, store, rows, tuple(sorted((*removed, layer))), whole) for layer in left}
        if len(left) == keep:
            scores |= cost
            break
        worst = min(cost, key=lambda layer: (cost[layer], layer))
        scores[worst] = cost[worst]
        removed = tuple(sorted((*removed, worst)))
        log.info("importance greedy | without %s | KL %.4f", removed, cost[worst])
    return Importance("greedy", tuple(scores[layer] for layer in range(1, depth + 1)), tuple(left))


def _divergence(model: Any, store: Rows, rows: np.ndarray, without: LayerMap, whole: Tensor) -> float:
    with skipping(model, without):
        found = _log_probabilities(model, store, rows, TEMPERATURE)
    return float(F.kl_div(found, whole, reduction="none", log_target=True).sum(-1).mean()) * TEMPERATURE**2


def _log_probabilities(model: Any, store: Rows, rows: np.ndarray, temperature: float = 1.0) -> Tensor:
    """float64, (rows, labels), in the order of `rows`."""
    found = torch.empty((len(rows), model.config.num_labels), dtype=torch.float64)
    for places, batch in _batches(model, store, rows):
        logits = model(**batch).logits.double().cpu()
        found[torch.from_numpy(places)] = F.log_softmax(logits / temperature, dim=-1)
    return found


def _balanced_loss(log_probabilities: Tensor, labels: np.ndarray) -> float:
    """Cross-entropy, averaged within each label first, so that rare labels count as much as frequent ones."""
    known = torch.from_numpy(np.asarray(labels))
    losses = -log_probabilities[torch.arange(len(known)), known]
    return float(torch.stack([losses[known == label].mean() for label in known.unique()]).mean())


def _batches(model: Any, store: Rows, rows: np.ndarray) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
    """Batches of positions in `rows` and their tensors, shortest rows first."""
    lengths = np.asarray(store.lengths)[rows]
    order = np.argsort(lengths, kind="stable")
    device = next(model.parameters()).device
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end + 1 - start) * int(lengths[order[end]]) <= TOKEN_BUDGET:
            end += 1
        places = order[start:end]
        batch = store.collate(rows[places], pad_to_multiple=1)
        yield places, {key: batch[key].to(device) for key in ("input_ids", "attention_mask")}
        start = end


def _draw_rows(count: int, wanted: int | None) -> np.ndarray:
    if count == 0:
        raise ValueError("importance: there are no rows to score on.")
    if wanted is None or wanted >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).permutation(count)[:wanted])
