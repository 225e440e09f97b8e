"""How often the verdict is wrong: a seeded simulation of equal and of different variants.

    python benchmarks/verdict.py --json FILE [--quick]

Each draw makes 1,500 labelled rows and two variants with five seeds, and asks `choose_winner`, the same function that
decides in `compare`, with its default settings. A draw names a winner when it does not end in a tie.

    false_winner_rate   share of draws that name a winner where both variants score the same macro-F1 in the long run
    power               share of draws that name the right winner where they differ by .05 in the long run
    loss_exceeded       share of draws whose winner loses more in the long run than the verdict's upper bound, where the
                        other variants are cheaper and worse by half of that: they ship in most draws

How a score is made. log odds = separation x (label - 1/2) + shared + own + run + noise. `shared` is the row's own
difficulty, the same for all variants; `own` is the variant's own difficulty, the same for all its seeds; `noise` is
fresh for each row and seed; each run also shifts its separation and its cut, which is what makes seeds differ. The
defaults look like fine-tuned half-depth students: macro-F1 about .77, 12 % positive, an SD over seeds of about .01,
one label in 16 changed by the seed and one in 11 by the variant (printed as simulated). Rows are independent, as the
bootstrap assumes; sentences of one comment are less so. `--rows`, `--seeds`, `--variants` and `--gap` change the
simulation. With more than two variants, one is better than all the others by `gap`, and the others are equal.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, roots_hermitenorm
from scipy.stats import beta, norm

from evenodd.evidence.metrics import Scored
from evenodd.evidence.verdict import Candidate
from evenodd.evidence.winner import choose_winner
from evenodd.settings import EvidenceSettings


@dataclass(frozen=True)
class World:
    """Parameters of the simulated variants. SDs are in log odds."""

    rows: int = 1500
    seeds: int = 5
    variants: int = 2
    gap: float = 0.05
    positive_share: float = 0.12
    f1_macro: float = 0.77
    shared_sd: float = 0.86
    own_sd: float = 0.35
    noise_sd: float = 0.37
    separation_sd: float = 0.06
    cut_sd: float = 0.12
    bootstrap_samples: int = EvidenceSettings().bootstrap_samples


def expected_f1(separation: float, world: World) -> float:
    """Macro-F1 in the long run at the best cut, without the spread over seeds."""
    spread = math.sqrt(world.shared_sd**2 + world.own_sd**2 + world.noise_sd**2)
    cuts = np.linspace(-2 * separation, 2 * separation, 801)
    return float(_f1_at(cuts, separation, spread, world.positive_share).max())


def best_cut(separation: float, world: World) -> float:
    """Cut with the highest macro-F1 in the long run."""
    spread = math.sqrt(world.shared_sd**2 + world.own_sd**2 + world.noise_sd**2)
    cuts = np.linspace(-2 * separation, 2 * separation, 801)
    return float(cuts[_f1_at(cuts, separation, spread, world.positive_share).argmax()])


def _f1_at(cuts: np.ndarray, separation: float, spread: float, share: float) -> np.ndarray:
    hit = share * norm.sf((cuts - separation / 2) / spread)
    false = (1 - share) * norm.sf((cuts + separation / 2) / spread)
    rest = 1 - hit - false - (share - hit)
    return hit / (hit + false + share) + rest / ((1 - hit - false) + 1 - share)


def long_run_f1(separation: float, world: World) -> float:
    """Mean macro-F1 of runs in the long run, with the spread over seeds, by Gauss-Hermite quadrature."""
    spread = math.sqrt(world.shared_sd**2 + world.own_sd**2 + world.noise_sd**2)
    nodes, weights = roots_hermitenorm(21)
    cuts = best_cut(separation, world) + world.cut_sd * nodes
    apart = separation + world.separation_sd * nodes
    values = np.stack([_f1_at(cuts, float(each), spread, world.positive_share) for each in apart])
    return float(weights @ values @ weights / weights.sum() ** 2)


def separation_for(f1_macro: float, world: World) -> float:
    """Separation that gives the requested long-run macro-F1."""
    return float(brentq(lambda separation: expected_f1(separation, world) - f1_macro, 0.3, 12.0))


def draw_candidates(world: World, separations: list[float], rng: np.random.Generator) -> list[Candidate]:
    """One data set and every variant's runs on it."""
    labels = (rng.random(world.rows) < world.positive_share).astype(np.int64)
    shared = world.shared_sd * rng.standard_normal(world.rows)
    candidates = []
    for number, separation in enumerate(separations):
        own = shared + world.own_sd * rng.standard_normal(world.rows)
        cut = best_cut(separation, world)
        runs = {}
        for seed in range(world.seeds):
            apart = separation + world.separation_sd * rng.standard_normal()
            shift = cut + world.cut_sd * rng.standard_normal()
            odds = apart * (labels - 0.5) + own + world.noise_sd * rng.standard_normal(world.rows) - shift
            positive = expit(3 * odds)
            runs[seed] = Scored(labels, np.column_stack([1 - positive, positive]))
        candidates.append(Candidate(f"variant{number}", runs, {"parameters": 1.0 if number else 2.0}))
    return candidates


def simulate(world: World, draws: int, seed: int) -> dict[str, float]:
    """Rates over draws, and properties of the simulated variants.

    Returns:
        named: share of draws that name a winner; right: share that name variant0; exceeded: share whose winner loses
        more than stated; means of f1_macro, the gap between the first two variants, the SD over seeds,
        average_precision, and the shares of labels that seed and variant change.
    """
    rng, settings = np.random.default_rng(seed), EvidenceSettings(bootstrap_samples=world.bootstrap_samples)
    others = separation_for(world.f1_macro - world.gap, world)
    separations = [separation_for(world.f1_macro, world)] + [others] * (world.variants - 1)
    true_loss = long_run_f1(separations[0], world) - long_run_f1(separations[-1], world)
    named, right, exceeded, looks = 0, 0, 0, []
    names = ("f1_macro", "gap", "f1_macro_sd", "average_precision", "changed_by_seed", "changed_by_variant")
    for _ in range(draws):
        candidates = draw_candidates(world, separations, rng)
        verdict = choose_winner(candidates, settings, positive=1, reference="variant0")
        named += not verdict.tie
        right += not verdict.tie and verdict.winner == "variant0"
        exceeded += verdict.winner != "variant0" and verdict.may_lose < true_loss
        scores, gap = verdict.scores.iloc[0], -np.diff(verdict.scores["f1_macro"].iloc[:2])[0]
        one, two = candidates[0].runs, candidates[1].runs
        changed = [(one[0].predictions != other.predictions).mean() for other in (one[world.seeds - 1], two[0])]
        looks.append([scores["f1_macro"], gap, scores["f1_macro_sd"], scores["average_precision"], *changed])
    rates = {"named": named / draws, "right": right / draws, "exceeded": exceeded / draws}
    return rates | dict(zip(names, map(float, np.mean(looks, axis=0)), strict=True))


def interval(share: float, draws: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share."""
    count = round(share * draws)
    low = beta.ppf(0.025, count, draws - count + 1) if count else 0.0
    high = beta.ppf(0.975, count + 1, draws - count) if count < draws else 1.0
    return float(low), float(high)


def measure(world: World, draws: int, seed: int) -> dict[str, Any]:
    """The rates with their intervals, and the parameters of the simulation."""
    started = time.perf_counter()
    equal = simulate(replace(world, gap=0.0), draws, seed)
    apart = simulate(world, draws, seed + 1)
    worse = simulate(replace(world, gap=world.gap / 2), draws, seed + 2)
    rates = {"false_winner_rate": equal["named"], "power": apart["right"], "loss_exceeded": worse["exceeded"]}
    bounds = {name: interval(rate, draws) for name, rate in rates.items()}
    return {
        **rates,
        **{f"{name}_low": low for name, (low, _) in bounds.items()},
        **{f"{name}_high": high for name, (_, high) in bounds.items()},
        "wrong_winner_rate": apart["named"] - apart["right"],
        "draws": draws,
        "seed": seed,
        "seconds": time.perf_counter() - started,
        "world": asdict(world),
        **{
            f"looks_{kind}": {key: value for key, value in found.items() if key not in ("named", "right", "exceeded")}
            for kind, found in (("equal", equal), ("apart", apart), ("worse", worse))
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulates, prints and writes the figures."""
    parser = argparse.ArgumentParser(
        description="False winners, power and stated losses of the verdict, by simulation."
    )
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument(
        "--quick", action="store_true", help="100 draws instead of 600 (a minute or two on an idle core)"
    )
    parser.add_argument("--draws", type=int, help="draws of each kind")
    parser.add_argument("--seed", type=int, default=0)
    for name in ("rows", "seeds", "variants"):
        parser.add_argument(f"--{name}", type=int, default=getattr(World, name))
    parser.add_argument("--gap", type=float, default=World.gap, help="macro-F1 between the variants that differ")
    args = parser.parse_args(arguments)
    world = World(rows=args.rows, seeds=args.seeds, variants=args.variants, gap=args.gap)
    found = measure(world, args.draws or (100 if args.quick else 600), args.seed)
    for name in ("false_winner_rate", "power", "loss_exceeded"):
        print(f"{name:18} {found[name]:.3f}  (95 % interval {found[f'{name}_low']:.3f} to {found[f'{name}_high']:.3f})")
    for kind in ("looks_equal", "looks_apart", "looks_worse"):
        print(f"{kind:18} {', '.join(f'{k} {v:.3f}' for k, v in found[kind].items())}")
    print(f"{found['draws']} draws of each kind in {found['seconds']:.0f} s")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
