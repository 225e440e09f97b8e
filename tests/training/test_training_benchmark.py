"""What the training benchmarks compare: the same mix of rows, one model, and memory that is really looked at."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from release_models import tiny_model
from training_rows import planted_labels, random_store

from benchmarks import bench as shared
from benchmarks import quality, scale, training, ways
from benchmarks.__main__ import commands
from benchmarks.bench import Bench, part_of
from benchmarks.memory import PeakMemory
from benchmarks.recipes import RECIPES, recipes_for, run_recipe
from evenodd.rows import TokenStore
from evenodd.training import teacher_targets


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    train, validation = random_store(160), random_store(20, seed=1)
    split = SimpleNamespace(labels=planted_labels(train))
    corpus = SimpleNamespace(train=split, label_names=("a", "b"), positive="b")
    encoder, work = tiny_model(depth=4), tmp_path_factory.mktemp("bench")
    targets = teacher_targets(encoder, train, work / "targets", "fp32")
    seen = (validation, planted_labels(validation))
    return Bench(cast(Any, corpus), encoder, tiny_model(depth=4), train, *seen, *seen, targets, work)


@pytest.mark.parametrize("count", [16, 50, 160])
def test_few_rows_have_the_lengths_of_all(bench: Bench, count: int) -> None:
    """A slow recipe on short rows by chance looks as fast as a quick one."""
    rows = bench.rows(count)
    assert len(set(rows.tolist())) == count
    assert bench.train.lengths[rows].mean() == pytest.approx(bench.train.lengths.mean(), rel=0.05)
    part = part_of(bench.train, rows)
    assert [part.ids(place).tolist() for place in range(5)] == [bench.train.ids(int(row)).tolist() for row in rows[:5]]


@pytest.mark.parametrize("name", ["classroom", "trainer fp32", "ours, frozen, no dropout", "teacher ours", "lora ours"])
def test_every_way_trains_on_the_rows_that_it_counts(name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentences per second of a recipe that skipped some are not its speed."""
    monkeypatch.setattr(ways, "CLASSROOM_TOKENS", 16)
    before = {key: value.clone() for key, value in bench.teacher.state_dict().items()}
    seen: list[int] = []
    collate = TokenStore.collate

    def watched(store: TokenStore, rows: np.ndarray, pad_to_multiple: int = 8) -> dict[str, torch.Tensor]:
        if torch.is_grad_enabled():
            seen.extend(len(store.ids(int(row))) for row in rows)
        return collate(store, rows, pad_to_multiple)

    monkeypatch.setattr(TokenStore, "collate", watched)
    found = run_recipe(bench, RECIPES[name], 96)
    assert sorted(seen) == sorted(bench.train.lengths[bench.rows(96)])
    assert found.rows == 96
    assert found.tokens == bench.train.lengths[bench.rows(96)].sum()
    assert 96 / 64 <= found.steps <= 96
    assert found.seconds > 0
    assert found.flops >= found.executed_flops > 0
    assert (found.flops > found.executed_flops) == (RECIPES[name].how == "ours")
    assert all(torch.equal(value, before[key]) for key, value in bench.teacher.state_dict().items())


def test_a_peer_that_groups_by_length_has_all_rows_to_group(bench: Bench) -> None:
    """Among few rows it pads as much as at random, and whoever is measured beside it looks quick."""
    recipe = RECIPES["trainer fp32 grouped"]
    found = run_recipe(bench, recipe, 96)
    assert (found.rows, found.steps) == (96, 3)
    assert found.tokens != bench.train.lengths[bench.rows(96)].sum()
    whole = run_recipe(bench, recipe, None)
    assert (whole.rows, whole.steps) == (160, 5)
    assert whole.tokens == bench.train.lengths.sum()


@pytest.mark.parametrize("rows", [16, 160])
def test_ours_takes_as_many_rows_a_step_as_the_peers(rows: int, bench: Bench) -> None:
    """Fewer, larger steps would be another recipe; more, smaller ones a handicap."""
    lengths = bench.train.lengths[bench.rows(rows)]
    budget = ways.budget_for(8, lengths)
    per_step = ways._mean_rows(lengths, budget)
    assert 8 <= per_step < 10
    assert ways._mean_rows(lengths, budget - 8) < 8 or budget - 8 < 8 * lengths.mean()


@pytest.mark.parametrize("count", [64, 128])
def test_few_batches_are_padded_as_all_are(count: int) -> None:
    """A peer on few rows in a lucky order is a quarter faster than on all of them."""
    train = random_store(4000, longest=60)
    few = Bench(*[cast(Any, None)] * 3, train, *[cast(Any, None)] * 6)
    lengths, random = train.lengths, np.random.default_rng(9)
    usual = np.mean([shared._padded(lengths, random) / lengths.mean() for _ in range(20)])
    rows = few.usual_batches(few.rows(count))
    assert sorted(rows) == sorted(few.rows(count))
    assert shared._padded(lengths[rows]) / lengths[rows].mean() == pytest.approx(usual, rel=0.03)


def figures_of(sentences_per_second: float, share: float) -> dict[str, float]:
    shares = {"share_of_ceiling": share, "share_of_ceiling_executed": share / 2}
    return {"sentences_per_second": sentences_per_second, **shares}


def test_ratios_are_ours_over_theirs() -> None:
    """The bars are read off these."""
    speeds = {name: figures_of(10.0, 0.1) for name in RECIPES} | {"ours": figures_of(150.0, 0.4)}
    found = training.ratios(speeds)
    assert found["ours_over_classroom"] == 15
    assert found["teacher_over_trainer_fp32"] == found["lora_over_trainer_fp32"] == 1
    assert (found["share_of_ceiling"], found["best_share_of_ceiling"]) == (0.4, 0.4)
    assert found["best_share_of_ceiling_executed"] == 0.2


def test_a_slow_round_slows_both_parts_of_a_ratio() -> None:
    """Medians of each line, divided, would mix a peer's quiet round with a loud one of ours."""
    rounds = []
    for load, ratio in ((1.0, 15.0), (4.0, 16.0), (2.0, 14.0)):
        found = {name: figures_of(12.0 / load, 0.1) for name in RECIPES}
        found["ours"] = figures_of(12.0 * ratio / load, 0.4 / load)
        rounds.append(found | {"product": {"fp32": 200.0 / load, "bf16": 800.0 / load}})
    found = training.summary(rounds)
    assert found["ours_over_classroom"] == 15
    assert found["recipes"]["ours"]["rounds"] == [180.0, 48.0, 84.0]
    assert found["recipes"]["ours"]["sentences_per_second"] == 84.0
    assert found["product_gflops"] == {"fp32": 100.0, "bf16": 400.0}
    rest = dict.fromkeys(("tokens_per_second", "rows_per_step", "peak_mb"), 1.0)
    for figures in found["recipes"].values():
        figures |= rest
    text = training.table(found | {"teacher_pass_seconds": 3})
    there = {name for name, pair in training.RATIOS.items() if set(pair) <= RECIPES.keys()}
    assert all(name in text for name in (*RECIPES, *there, *training.SHARES))


class Slow:
    """Stands for a worker on which everything takes long."""

    def measure(self, name: str, rows: int) -> dict[str, float]:
        return figures_of(1.0, 1.0) | {"gflops": 90.0, "executed_gflops": 45.0}

    def products(self) -> dict[str, float]:
        return {"fp32": 300.0, "bf16": 150.0}


@pytest.mark.parametrize(("bf16", "grouped"), [(1.0, "trainer fp32 grouped"), (900.0, "trainer bf16 grouped")])
def test_peers_run_in_the_better_precision(bf16: float, grouped: str) -> None:
    """At 1 GFLOP/s a peer in bf16 takes a silent hour, and ours looks a thousand times as fast."""
    here = recipes_for({"fp32": 100.0, "bf16": bf16})
    assert [name for name, recipe in here.items() if recipe.grouped] == [grouped]
    assert ("trainer bf16" in here) == (bf16 > 100)
    assert set(RECIPES) - set(here) <= {"trainer bf16", "trainer bf16 grouped", "trainer fp32 grouped"}


def test_a_slow_probe_changes_no_recipe() -> None:
    """Peers that are measured in one round and left out in the next have no median, and their ratio disappears."""

    class Noisy(Slow):
        probes = iter([{"fp32": 100.0, "bf16": 50.0}, {"fp32": 100.0, "bf16": 300.0}])

        def products(self) -> dict[str, float]:
            return next(self.probes, {"fp32": 100.0, "bf16": 60.0})

    workers: Any = dict.fromkeys(("ours", "classroom", "trainer"), Noisy())
    first, second = training._rounds(workers, 1, 0.0)
    assert "trainer bf16 grouped" in first
    assert first.keys() == second.keys()


def test_every_recipe_is_reported_when_it_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """Minutes of silence look like a machine that hangs."""
    workers: Any = dict.fromkeys(("ours", "classroom", "trainer"), Slow())
    found = training._rounds(workers, 1, 0.0)[0]
    said = capsys.readouterr().err
    assert all(f"] {name}: 1 sentences per second" in said for name in found if name != "product")


@pytest.mark.parametrize(("left", "rounds"), [(-1.0, 2), (0.0, 2), (60.0, 3), (float("inf"), 3)])
def test_there_are_fewer_rounds_where_time_is_short_and_never_one(left: float, rounds: int) -> None:
    """A single round is no median, and a short run of seven minutes is none."""
    workers: Any = dict.fromkeys(("ours", "classroom", "trainer"), Slow())
    assert len(training._rounds(workers, 1, time.monotonic() + left)) == rounds


def test_the_ceiling_is_the_faster_product() -> None:
    """Against a slow bfloat16 product, a float32 fit would be above the ceiling."""
    workers: Any = dict.fromkeys(("ours", "classroom", "trainer"), Slow())
    found = training._rounds(workers, 1, 0.0)[0]["ours"]
    assert (found["share_of_ceiling"], found["share_of_ceiling_executed"]) == (0.3, 0.15)


class Counting:
    """Stands for a worker: counts its fits and scores by seed."""

    def __init__(self, fits: int) -> None:
        self.fits, self.asked = fits, list[tuple[str, int]]()

    def measure(self, name: str, rows: int | None, *, seed: int, epochs: int) -> dict[str, float]:
        assert (rows, epochs) == (None, 2)
        if len(self.asked) == self.fits:
            raise KeyboardInterrupt
        self.asked.append((name, seed))
        speed = {"sentences_per_second": 10.0 * (seed + 1) ** 2, "gflops": 200.0}
        return {"f1_macro": 0.7 + seed / 10, "average_precision": 0.6} | speed

    def products(self) -> dict[str, float]:
        return {"bf16": 800.0}


def test_interrupted_scores_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The slow recipes take hours: what was fitted before an interruption is not fitted again."""
    scored, seeds = ("classroom", "ours"), range(3)
    speeds = {"classroom": figures_of(10, 0.1), "ours": figures_of(300, 0.1)}

    def measure(epochs: int, worker: Counting) -> dict[str, dict[str, float]]:
        ledger = quality.Ledger(tmp_path / "scores.jsonl", teacher="one", epochs=epochs)
        workers = cast(Any, dict.fromkeys(("classroom", "ours"), worker))
        return quality.measure_quality(workers, speeds, scored, seeds, ledger)

    first, second, third = Counting(3), Counting(9), Counting(9)
    with pytest.raises(KeyboardInterrupt):
        measure(2, first)
    assert first.asked == [("classroom", 0), ("ours", 0), ("classroom", 1)]
    found = measure(2, second)
    assert second.asked == [("ours", 1), ("classroom", 2), ("ours", 2)]
    assert found["ours"] == pytest.approx(
        {"f1_macro": 0.8, "f1_macro_sd": 0.1, "average_precision": 0.6, "average_precision_sd": 0.0}
        | {"whole_fit_sentences_per_second": 40.0, "whole_fit_share_of_ceiling": 0.25}
    )
    ratios = training.whole_fit_ratios(found)
    assert ratios == {"whole_fit_ours_over_classroom": 1.0, "whole_fit_share_of_ceiling": 0.25}
    assert "[3/3] ours, seed 2: macro-F1 0.900" in capsys.readouterr().err
    measure(2, third)
    assert third.asked == []
    with pytest.raises(AssertionError):
        measure(3, third)


def test_peaks_are_seen_and_begin_anew() -> None:
    """A peak left from an earlier, larger part would make memory look flat."""
    with PeakMemory() as large:
        block = np.ones(200 * 2**17)
        _touch(block)
    del block
    with PeakMemory() as small:
        _touch(np.ones(1000))
    assert large.rss_mb - small.rss_mb > 100
    assert large.private_mb - small.private_mb > 100


def test_repeated_texts_differ(tmp_path: Path) -> None:
    """Rows that are equal are dropped: the file would count for the 3,000 rows of the sample."""
    scale.write_rows(tmp_path / "rows.jsonl", 7000)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert len({row["text"] for row in rows}) == len(rows) == 7000
    assert {row["label_text"] for row in rows} == {"hate", "noHate"}


def test_growth_is_reported_by_row() -> None:
    """Megabytes for the first size and the last say nothing of what the next one takes."""
    first = scale.Stage(rows=1000, seconds=1.0, rss_mb=150.0, private_mb=100.0)
    last = replace(first, rows=11_000, seconds=22.0, private_mb=101.0)
    found = {1000: dict.fromkeys(scale.STAGES, first), 11_000: dict.fromkeys(scale.STAGES, last)}
    assert scale._slower(found, "rows") == pytest.approx(2.0)
    assert scale._growth(found, "rows") == pytest.approx(2**20 / 10_000)


def _touch(block: np.ndarray) -> float:
    """Holds a block for some looks of the watcher."""
    return sum(float(block.sum()) for _ in range(10))


def test_each_benchmark_of_a_run_writes_a_file_of_its_own() -> None:
    """One file for all would hold the last one's figures under the name of every other."""
    found = commands(["--quick", "--json", "out/figures.json", "--only", "training", "verdict"])
    assert found == {
        "training": ["--quick", "--json", "out/figures-training.json"],
        "verdict": ["--quick", "--json", "out/figures-verdict.json"],
    }
    assert set(commands([])) == {"training", "scale", "inference", "scoring", "serving", "verdict"}


@pytest.mark.slow
def test_unusable_rows_are_reported_in_one_line(tmp_path: Path) -> None:
    """Another process detects them; its traceback and the pipe's would hide the reason."""
    command = [sys.executable, "-m", "benchmarks.training", "--quick", "--data", str(tmp_path), "--home", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(training.__file__).parents[1])
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("benchmarks.training: data=")
