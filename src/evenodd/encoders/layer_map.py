"""Layer maps: which teacher layers a student keeps. Layers are numbered from 1."""

from __future__ import annotations

import itertools
import random

LayerMap = tuple[int, ...]


def odd_layers(depth: int) -> LayerMap:
    """(1, 3, 5, …) for a teacher with `depth` layers."""
    return tuple(range(1, depth + 1, 2))


def even_layers(depth: int) -> LayerMap:
    """(2, 4, 6, …) for a teacher with `depth` layers."""
    return tuple(range(2, depth + 1, 2))


def top_layers(depth: int, keep: int) -> LayerMap:
    """The last `keep` layers."""
    return tuple(range(depth - keep + 1, depth + 1))


def bottom_layers(depth: int, keep: int) -> LayerMap:
    """The first `keep` layers."""
    return tuple(range(1, keep + 1))


def random_layers(depth: int, keep: int, seed: int) -> LayerMap:
    """`keep` layers drawn without replacement, ascending; the same for the same seed."""
    return tuple(sorted(random.Random(f"layers {seed}").sample(range(1, depth + 1), keep)))


def spread_layers(layers: LayerMap, keep: int) -> LayerMap:
    """`keep` evenly spread layers; all of them if there are no more than `keep`."""
    if keep >= len(layers):
        return layers
    return tuple(layers[round(i * (len(layers) - 1) / max(keep - 1, 1))] for i in range(keep))


def check_layer_map(layers: LayerMap, depth: int) -> LayerMap:
    """Returns the map if it fits a teacher of that depth.

    Raises:
        ValueError: it is empty, or layers are repeated, out of order or out of range.
    """
    allowed = (
        f"layers are numbered 1..{depth}; the odd layers are {odd_layers(depth)}, the even ones {even_layers(depth)}."
    )
    if not layers:
        raise ValueError(f"teacher_layers=(): at least one layer must be kept; {allowed}")
    if any(layer < 1 or layer > depth for layer in layers):
        raise ValueError(f"teacher_layers={layers}: {allowed}")
    if any(b <= a for a, b in itertools.pairwise(layers)):
        raise ValueError(f"teacher_layers={layers}: list each layer once, in ascending order; {allowed}")
    return layers


def choose_layers(choice: str, depth: int, *, keep: int | None, seed: int) -> LayerMap:
    """The layer map of a named rule.

    Args:
        choice: `odd`, `even`, `top`, `bottom` or `random`.
        depth: number of the teacher's layers.
        keep: number of the student's layers; None: half of the teacher's.
        seed: for `random`.

    Raises:
        ValueError: the choice is unknown, the teacher has one layer, or `keep` exceeds the layers of the choice.
    """
    if depth < 2:
        raise ValueError(f"depth={depth}: a teacher with one layer cannot be halved.")
    half = keep or depth // 2
    if half > depth:
        raise ValueError(f"depth={half}: the teacher has {depth} layers; pass 1 to {depth}.")
    if choice in ("odd", "even"):
        layers = odd_layers(depth) if choice == "odd" else even_layers(depth)
        if keep and keep > len(layers):
            raise ValueError(
                f"depth={keep}: there are {len(layers)} {choice} layers of {depth}; pass 1 to {len(layers)}."
            )
        return spread_layers(layers, keep or len(layers))
    if choice == "random":
        return random_layers(depth, half, seed)
    if choice in ("top", "bottom"):
        return (top_layers if choice == "top" else bottom_layers)(depth, half)
    raise ValueError(f"choice='{choice}': allowed are odd, even, top, bottom and random.")
