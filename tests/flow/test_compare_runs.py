"""`compare` on finished runs of a real store: gates that bar a winner, counterexamples beside none, the page."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from finished_runs import Made, add_finished, made_scores, materials_of

from evenodd.evidence.augmentation import Arm, compare_augmentation
from evenodd.evidence.metrics import average_precision, f1_macro
from evenodd.evidence.suites.behaviour import load_suite, score_suite
from evenodd.flow import main
from evenodd.flow.compare import Compared, compare_runs, counterparts
from evenodd.flow.export import newest_winner
from evenodd.flow.measure import unseen_cases
from evenodd.flow.runs import read_run
from evenodd.flow.schedule.fits import Fits
from evenodd.rows import Corpus, load_corpus
from evenodd.settings import EvidenceSettings, Settings, resolve_settings

FAST = {"evidence.bootstrap_samples": "200"}
AUGMENTED = {"augment": "counterexamples", "data.augment_rows": "100"}


@pytest.fixture
def corpus(tracking: ModuleType, rows_file: Path, tmp_path: Path) -> Corpus:
    return load_corpus(resolve_settings({"data": str(rows_file)}).data, seed=0, cache=tmp_path / "cache")


def compare(corpus: Corpus, runs: list[str], tmp_path: Path, **said: str) -> Compared:
    settings: Settings = resolve_settings({**FAST, "home": str(tmp_path / "home"), **said})
    return compare_runs(runs, materials_of(corpus, tmp_path), settings)


def logged(tracking: ModuleType, run_id: str, name: str) -> pd.DataFrame:
    return pd.read_csv(tracking.download(run_id, f"tables/{name}.csv"))


def test_a_variant_that_fails_a_gate_cannot_win(tracking: ModuleType, corpus: Corpus, tmp_path: Path) -> None:
    """The winner would be announced, exported and then refused by `promote`."""
    cheap = add_finished(tracking, corpus, Made("odd", suite=0.6, metrics={"cost/operations_per_token": 1e6}))
    sound = add_finished(tracking, corpus, Made("even", suite=0.9))
    free = compare(corpus, [cheap, sound], tmp_path)
    assert (free.verdict.winner, free.verdict.tie) == ("odd", True)
    barred = compare(corpus, [cheap, sound], tmp_path, **{"gates.min_behaviour": "0.8"})
    assert barred.verdict.winner == "even"
    assert barred.verdict.excluded == {"odd": "gates not passed: behaviour"}
    gates = logged(tracking, barred.run_id, "gates").set_index(["variant", "gate"])["passed"]
    assert not gates["odd", "behaviour"]
    assert gates["even", "behaviour"]
    assert tracking.get_run(barred.run_id).data.params["gates.min_behaviour"] == "0.8"
    assert "Not passed by odd." in barred.report.read_text(encoding="utf-8")


def test_gates_that_need_an_export_wait_for_the_promotion(tracking, corpus, tmp_path) -> None:
    """Nothing is exported before there is a winner: asking for parity would leave none."""
    run = add_finished(tracking, corpus, Made("odd"))
    asked = {"gates.require_parity": "true", "gates.max_onnx_mb": "1"}
    assert compare(corpus, [run], tmp_path, **asked).verdict.winner == "odd"


def test_slices_are_figures_and_a_gate(tracking, rows_file, tmp_path) -> None:
    """A version that is right on average and wrong on one region's texts would ship."""
    rows = [json.loads(line) for line in rows_file.read_text(encoding="utf-8").splitlines()]
    sliced = [{**row, "region": "north" if number % 2 else "south"} for number, row in enumerate(rows)]
    (path := tmp_path / "sliced.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in sliced), encoding="utf-8")
    settings = resolve_settings({"data": str(path), "slices": "region", "data.validation_share": "0.4"})
    corpus = load_corpus(settings.data, seed=0, cache=tmp_path / "cache")
    run = add_finished(tracking, corpus, Made("odd", skill=1.0))
    compared = compare(corpus, [run], tmp_path)
    table = logged(tracking, compared.run_id, "slices").set_index(["split", "value"])
    regions = np.array(corpus.validation.slice_values("region"))
    assert table.loc[("validation", "north"), "rows"] == (regions == "north").sum()
    gap = tracking.figures_of(tracking.get_run(run))["slices/max_gap"]
    rates = table.loc["validation"]["false_positive_rate"]
    assert gap >= rates.max() - rates.min() > 0
    page = compared.report.read_text(encoding="utf-8")
    assert "<h2>Slices</h2>" in page
    assert "false-positive rate" in page
    for asked, passed in ((gap / 2, False), (gap, True)):
        held = compare(corpus, [run], tmp_path, **{"gates.max_slice_gap": str(asked)})
        gates = logged(tracking, held.run_id, "gates").set_index(["variant", "gate"])["passed"]
        assert gates["odd", "slice_gap"] == passed


def test_a_model_that_always_says_no_cannot_win(tracking, corpus, tmp_path) -> None:
    """It is the fastest, and right as often as the majority."""
    never = add_finished(tracking, corpus, Made("odd", skill=float("-inf"), latency=0.1))
    alone = compare(corpus, [never], tmp_path)
    assert alone.verdict.winner is None
    assert alone.winner_version is None
    assert "does not exceed the floor" in alone.verdict.text
    assert (alone.verdict.strongest, alone.strongest_version) == ("odd", read_run(never).version)
    beside = compare(corpus, [never, add_finished(tracking, corpus, Made("even"))], tmp_path)
    assert beside.verdict.winner == "even"


def test_where_no_variant_may_ship_the_strongest_can_be_tried(tracking, corpus, tmp_path, monkeypatch) -> None:
    """The commands ended after all fits with nothing to serve."""
    runs = [add_finished(tracking, corpus, Made(name, skill=skill)) for name, skill in (("odd", 1.0), ("even", 2.0))]
    shipped: list[object] = []
    monkeypatch.setattr(main, "compare_runs", lambda *_, **__: barred)
    exported = SimpleNamespace(bundle=Path("bundles/even"))
    monkeypatch.setattr(main, "export_version", lambda version, *_, **__: shipped.append(version) or exported)
    monkeypatch.setattr(main, "package", lambda versions, *_, **__: shipped.append(versions) or "bento:1")
    monkeypatch.setattr(main, "promote", lambda *_, **__: pytest.fail("what may not ship is no champion"))
    barred = compare(corpus, runs, tmp_path, **{"gates.min_behaviour": "0.99"})
    assert barred.verdict.winner is None
    done = main.ship(Fits([]), materials_of(corpus, tmp_path), resolve_settings({}))
    even = read_run(runs[1]).version
    assert shipped == [even, (even,)]
    assert done.exit_code == 3
    assert "make serve MODEL=bundles/even " in done.text
    assert "NOT PROMOTED: no variant may ship. even has the highest score" in done.text


def test_a_comparison_of_the_same_runs_is_reused_within_main(tracking, corpus, tmp_path) -> None:
    """A rerun of a finished `main` would draw and log the same report again, or show an outdated or damaged one."""
    runs = [add_finished(tracking, corpus, Made(name, skill=skill)) for name, skill in (("odd", 1.0), ("even", 2.0))]

    def nested(ids: list[str], **said: str) -> Compared:
        settings = resolve_settings({**FAST, "home": str(tmp_path / "home"), **said})
        with tracking.start_run("main", tags={"stage": "main"}):
            return compare_runs(ids, materials_of(corpus, tmp_path), settings, nested=True)

    first, again = nested(runs), nested(runs)
    assert again.run_id == first.run_id
    assert (again.text, again.winner_version) == (first.text, first.winner_version)
    other = nested(runs, **{"gates.min_behaviour": "0.1"})
    assert other.run_id != first.run_id
    back = nested(runs)  # not the newest any more, whose winner `export` takes
    assert back.run_id not in (first.run_id, other.run_id)
    assert nested(runs[:1]).run_id != back.run_id
    last = nested(runs)
    page = Path(tracking.get_run(last.run_id).info.artifact_uri.removeprefix("file://")) / "report.html"
    page.write_text("", encoding="utf-8")
    repaired = nested(runs)
    assert repaired.run_id != last.run_id
    assert "<h1>" in repaired.report.read_text(encoding="utf-8")
    assert compare(corpus, runs, tmp_path).run_id != repaired.run_id


def test_an_older_winner_does_not_stand_in_for_none(tracking, corpus, tmp_path) -> None:
    """`export` and `promote` would ship what the newest comparison did not name."""
    with pytest.raises(ValueError, match="nothing was compared yet"):
        newest_winner()
    won = compare(corpus, [add_finished(tracking, corpus, Made("even"))], tmp_path)
    assert newest_winner() == won.winner_version
    compare(corpus, [add_finished(tracking, corpus, Made("odd", skill=float("-inf")))], tmp_path)
    with pytest.raises(ValueError, match="named no winner"):
        newest_winner()


def test_counterparts_differ_in_counterexamples_alone(tracking, corpus) -> None:
    """A run with another learning rate, or on other rows, beside it would credit the counterexamples with that."""
    plain = add_finished(tracking, corpus, Made("odd"))
    same = add_finished(tracking, corpus, Made("odd", parameters=AUGMENTED))
    kinds = add_finished(tracking, corpus, Made("odd", parameters={**AUGMENTED, "data.augment_kinds": "threat"}))
    add_finished(tracking, corpus, Made("odd", parameters={**AUGMENTED, "learning_rate": "0.1"}))
    add_finished(tracking, corpus, Made("odd", seed=1, parameters=AUGMENTED))
    add_finished(tracking, corpus, Made("even", parameters=AUGMENTED))
    add_finished(tracking, corpus, Made("odd"), validation_digest="of other rows")
    assert {run.run_id for run in counterparts([read_run(plain)])} == {same, kinds}
    assert {run.run_id for run in counterparts([read_run(same)])} == {plain, kinds}


def test_the_report_shows_runs_with_and_without_counterexamples(tracking, corpus, tmp_path) -> None:
    """Whether they help, and what they cost on the forum's own rows, is what one asks of them."""
    seeds = (0, 1)
    plain = [add_finished(tracking, corpus, Made("odd", seed=seed, suite=0.6)) for seed in seeds]
    for seed in seeds:
        add_finished(tracking, corpus, Made("odd", seed=seed, skill=2.5, suite=0.9, parameters=AUGMENTED))
    compared = compare(corpus, plain, tmp_path)
    means = logged(tracking, compared.run_id, "augmentation").set_index("counterexamples")
    changes = logged(tracking, compared.run_id, "augmentation_changes").iloc[0]
    added = "100 rows an epoch (4 sets, 90% of the mix)"
    assert set(means.index) == {"none", added}
    suite_gain = means.loc[added, "balanced accuracy"] - means.loc["none", "balanced accuracy"]
    assert changes["balanced accuracy"] == pytest.approx(suite_gain)
    assert suite_gain == pytest.approx(0.3, abs=0.05)
    assert changes["average precision low"] <= changes["average precision"] <= changes["average precision high"]
    page = compared.report.read_text(encoding="utf-8")
    assert "<h2>Counterexamples</h2>" in page
    assert f"odd with {added} against none (2 seeds)" in page


def test_changes_by_counterexamples_are_paired_differences(corpus: Corpus) -> None:
    """Against scikit-learn's definitions by hand: means over the seeds that both have, on the same test rows."""
    suite = load_suite()
    right = score_suite(suite, suite.cases["positive"].to_numpy())
    made = {added: [Made("odd", seed, skill) for seed in (3, 4)] for added, skill in (("none", 2.0), ("9 rows", 3.0))}
    arms = [Arm("odd", m.seed, added, made_scores(corpus.test, m), right) for added, ms in made.items() for m in ms]
    alone = Arm("even", 3, "none", arms[0].test)
    found = compare_augmentation([*arms, alone], EvidenceSettings(bootstrap_samples=100), positive=1)
    assert found
    expected = {}
    for added in made:
        tests = [arm.test for arm in arms if arm.added == added]
        f1 = np.mean([f1_macro(test.labels, test.predictions, 2) for test in tests])
        expected[added] = (f1, np.mean([average_precision(t.labels == 1, t.probabilities[:, 1]) for t in tests]))
    (change,) = found.changes.to_dict("records")
    for name, one, other in zip(("macro-F1", "average precision"), expected["9 rows"], expected["none"], strict=True):
        assert change[name] == pytest.approx(one - other, abs=1e-5)
    assert change["balanced accuracy"] == 0
    assert found.means.set_index("counterexamples").loc["none", "direct attacks caught"] == 1
    assert set(found.means["variant"]) == {"odd"}
    assert compare_augmentation([alone], EvidenceSettings()) is None


def test_counts_of_the_data_stand_beside_the_figures(tracking, corpus, tmp_path) -> None:
    """Runs on leaking rows cannot be told from others in the compare view without them."""
    compared = compare(corpus, [add_finished(tracking, corpus, Made("odd"))], tmp_path)
    metrics = tracking.get_run(compared.run_id).data.metrics
    kinds = ("repeated_texts", "leaking_rows", "label_conflicts", "likely_label_errors", "suite_cases_trained_on")
    assert {f"data/{kind}" for kind in kinds} <= set(metrics)
    assert metrics["data/leaking_rows"] == materials_of(corpus, tmp_path).data_report.leaks["rows"].sum()


def test_a_suite_that_was_trained_on_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """A few rows that happen to be cases are left out and told; a suite among the rows is no measurement."""
    suite = load_suite()
    assert len(unseen_cases(suite, suite.texts[:2])) == len(suite) - 2
    assert f"2 of {len(suite)} cases occur in the training rows" in caplog.text
    with pytest.raises(ValueError, match="958 of its 958 cases occur in the training rows"):
        unseen_cases(suite, suite.texts)
