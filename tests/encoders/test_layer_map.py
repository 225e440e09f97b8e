"""Layer maps: what is kept, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenodd.encoders.layer_map import check_layer_map, choose_layers, even_layers, odd_layers

CHOICES = ("odd", "even", "top", "bottom", "random")


def test_odd_layers_count_from_one() -> None:
    """Counted from 0, `odd` would silently be the even layers."""
    assert odd_layers(12) == (1, 3, 5, 7, 9, 11)


def test_even_layers_end_with_the_last() -> None:
    """`2 * i - 1` with i = 0 would take the last layer into the wrong map."""
    assert even_layers(12) == (2, 4, 6, 8, 10, 12)


@given(st.integers(1, 60))
def test_odd_and_even_share_out_every_layer(depth: int) -> None:
    """An odd depth must lose no layer and repeat none."""
    assert sorted(odd_layers(depth) + even_layers(depth)) == list(range(1, depth + 1))


@pytest.mark.parametrize(
    ("layers", "what"),
    [
        ((), "at least one"),
        ((0, 2), "numbered 1..12"),
        ((1, 13), "numbered 1..12"),
        ((-1,), "numbered 1..12"),
        ((1, 1, 2), "once"),
        ((3, 2), "ascending"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(layers: tuple[int, ...], what: str) -> None:
    """Python would take layer 0 as the last one; the message shows the layers there are."""
    with pytest.raises(ValueError, match=what) as caught:
        check_layer_map(layers, 12)
    assert "(2, 4, 6, 8, 10, 12)" in str(caught.value)


@given(st.sampled_from(CHOICES), st.integers(2, 30), st.data())
def test_every_choice_gives_a_map_of_the_depth_asked_for(choice: str, depth: int, data: st.DataObject) -> None:
    """A student of another depth than asked for would be compared as if it had it."""
    most = {"odd": len(odd_layers(depth)), "even": len(even_layers(depth))}.get(choice, depth)
    keep = data.draw(st.integers(1, most))
    layers = choose_layers(choice, depth, keep=keep, seed=data.draw(st.integers(0, 99)))
    assert check_layer_map(layers, depth) == layers
    assert len(layers) == keep


@given(st.sampled_from(("top", "bottom", "random")), st.integers(2, 30))
def test_half_is_kept_when_no_depth_is_given(choice: str, depth: int) -> None:
    """The controls are compared with odd and even at equal budget."""
    assert len(choose_layers(choice, depth, keep=None, seed=0)) == depth // 2


def test_top_and_bottom_are_the_ends() -> None:
    """Swapped, the controls would still run and tell the opposite."""
    assert choose_layers("top", 12, keep=4, seed=0) == (9, 10, 11, 12)
    assert choose_layers("bottom", 12, keep=4, seed=0) == (1, 2, 3, 4)


def test_random_layers_follow_the_seed() -> None:
    """Several draws must differ, one draw must come back."""
    draws = {choose_layers("random", 12, keep=6, seed=seed) for seed in range(8)}
    assert len(draws) > 4
    assert choose_layers("random", 12, keep=6, seed=3) == choose_layers("random", 12, keep=6, seed=3)


def test_fewer_odd_layers_are_spread_from_first_to_last() -> None:
    """Cut off at the end, a shallow odd student would be a bottom student."""
    assert choose_layers("odd", 12, keep=3, seed=0) == (1, 5, 11)


@pytest.mark.parametrize(
    ("choice", "depth", "keep", "what"),
    [
        ("odd", 1, None, "cannot be halved"),
        ("top", 6, 7, "pass 1 to 6"),
        ("even", 7, 4, "there are 3 even layers"),
        ("middle", 12, None, "odd, even, top"),
    ],
)
def test_a_choice_that_cannot_be_met_names_what_can(choice: str, depth: int, keep: int | None, what: str) -> None:
    """Silently keeping fewer layers than asked for would be reported under the depth asked for."""
    with pytest.raises(ValueError, match=what):
        choose_layers(choice, depth, keep=keep, seed=0)
