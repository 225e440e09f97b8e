"""Plots, data report, table, HTML report and model card: that they say what was measured, and nothing else."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from huggingface_hub import ModelCard
from matplotlib.figure import Figure

from evenodd.evidence.calibration import decision_metrics, fit_decision
from evenodd.evidence.datareport import confident_disagreement, data_report
from evenodd.evidence.floors import fit_floors
from evenodd.evidence.metrics import Scored
from evenodd.evidence.verdict import Candidate
from evenodd.evidence.winner import choose_winner
from evenodd.report.card import model_card
from evenodd.report.comparison_plots import (
    pareto_front,
    plot_all_curves,
    plot_differences,
    plot_pareto,
    plot_scores,
)
from evenodd.report.data_plot import plot_data, shown_labels
from evenodd.report.highlights import highlights
from evenodd.report.page import (
    Picture,
    Report,
    Section,
    figure_uri,
    section_html,
    write_report,
)
from evenodd.report.plots import (
    plot_confusion,
    plot_curves,
    plot_precision_recall,
    plot_reliability,
    plot_risk_coverage,
    risk_coverage,
)
from evenodd.report.sections import cost_section, data_section, decision_section, quality_section
from evenodd.report.table import comparison_table
from evenodd.report.tables import number_text, table_html
from evenodd.settings import DecisionSettings, EvidenceSettings
from evenodd.task import Task

NAMES = ("noHate", "hate")
TASK = Task.single_label(NAMES, "hate")


def scored_run(seed: int, skill: float = 2.0, rows: int = 200) -> Scored:
    rng = np.random.default_rng(seed)
    labels = (np.arange(rows) % 5 == 0).astype(np.int64)
    logits = rng.normal(size=(rows, 2)) + skill * np.eye(2)[labels]
    exponents = np.exp(logits)
    return Scored(labels, exponents / exponents.sum(axis=1, keepdims=True), None, logits.astype(np.float32))


def decision_for(scored: Scored, positive: str | None = "hate"):
    return fit_decision(scored.logits, scored.labels, DecisionSettings(), Task.single_label(NAMES, positive))


def history() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"variant": v, "seed": s, "epoch": e, "split": split, "metric": metric, "value": e + s / 10}
            for v in ("odd", "even")
            for s in (0, 1)
            for e in (1, 2, 3)
            for split, metric in (("train", "loss"), ("validation", "loss"), ("validation", "f1_macro"))
        ]
    )


def test_curves_show_the_mean_over_seeds() -> None:
    """A curve of the last seed alone hides the spread."""
    figure = plot_curves(history(), "odd")
    loss, f1 = figure.axes
    assert [line.get_label() for line in loss.lines] == ["train", "validation"]
    assert list(f1.lines[0].get_ydata()) == pytest.approx([1.05, 2.05, 3.05])
    assert [line.get_label() for line in plot_all_curves(history()).axes[1].lines] == ["odd", "even"]
    with pytest.raises(ValueError, match="lora"):
        plot_curves(history(), "lora")
    with pytest.raises(ValueError, match="needed"):
        plot_all_curves(history().drop(columns="epoch"))


def test_confusion_rows_are_true_labels() -> None:
    """Swapped axes turn missed hate into false alarms."""
    labels = np.array([0, 0, 0, 1])
    scored = Scored(labels, np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1]]))
    texts = {
        (t.get_position()[1], t.get_position()[0]): t.get_text() for t in plot_confusion(scored, NAMES).axes[0].texts
    }
    assert texts[(0, 0)].startswith("2\n")
    assert texts[(0, 1)].startswith("1\n")
    assert texts[(1, 0)].startswith("1\n100")
    assert texts[(1, 1)].startswith("0\n")


def test_chosen_point_lies_on_the_precision_recall_curve() -> None:
    """A point beside the curve belongs to other scores than those shown."""
    scored = scored_run(1)
    decision = decision_for(scored)
    calibrated = Scored(scored.labels, decision.probabilities(scored.logits))
    curve, _, point = plot_precision_recall(calibrated, decision).axes[0].lines
    recall, precision = float(point.get_xdata()[0]), float(point.get_ydata()[0])
    gaps = np.hypot(np.asarray(curve.get_xdata()) - recall, np.asarray(curve.get_ydata()) - precision)
    assert gaps.min() < 1e-9


def test_risk_at_full_coverage_is_the_error_rate() -> None:
    """The curve must start from the surest decisions and end at all of them."""
    scored = scored_run(2)
    decision = decision_for(scored)
    coverage, risk = risk_coverage(scored, decision)
    called = scored.probabilities[:, 1] >= decision.threshold
    assert coverage[-1] == 1
    assert risk[-1] == pytest.approx((called != scored.labels).mean())
    assert risk[: len(risk) // 2].mean() < risk[-1]


def test_every_plot_is_a_free_figure() -> None:
    """pyplot keeps every figure of a long study in memory."""
    import matplotlib.pyplot as plt

    plt.close("all")
    one, two = scored_run(1), scored_run(2)
    decision = decision_for(one)
    runs = pd.DataFrame(
        {"variant": ["odd", "odd", "even"], "f1_macro": [0.7, 0.8, 0.6], "average_precision": [0.5, 0.6, 0.4]}
    )
    costs = pd.DataFrame(
        {"f1_macro": [0.7, 0.8], "latency": [1.0, 2.0], "parameters": [1e6, 2e6]}, index=["odd", "even"]
    )
    verdict = choose_winner(
        [Candidate("odd", {0: one}), Candidate("even", {0: two})], EvidenceSettings(bootstrap_samples=100)
    )
    figures = [
        plot_reliability(one, two),
        plot_risk_coverage(one, decision),
        plot_scores(runs, {"tfidf": {"f1_macro": 0.5, "average_precision": 0.3}}),
        plot_pareto(costs, cost="latency", words="ms"),
        plot_differences(verdict.pairs),
        plot_data(corpus(["a b", "c"], ["d"], ["e f g"])),
    ]
    for figure in figures:
        assert isinstance(figure, Figure)
        assert figure.axes[0].lines or figure.axes[0].collections or figure.axes[0].patches
    assert plt.get_fignums() == []


def test_pareto_front_equals_brute_force() -> None:
    """A variant that something cheaper beats must not be on the line."""
    rng = np.random.default_rng()
    cost, quality = rng.integers(0, 6, 12).astype(float), rng.integers(0, 6, 12).astype(float)
    expected = {
        (cost[i], quality[i])
        for i in range(12)
        if not any(
            cost[j] <= cost[i] and quality[j] >= quality[i] and (cost[j], quality[j]) != (cost[i], quality[i])
            for j in range(12)
        )
    }
    assert {(cost[i], quality[i]) for i in pareto_front(cost, quality)} == expected


def corpus(
    train: list[str], validation: list[str], test: list[str], labels: list[int] | None = None
) -> SimpleNamespace:
    def split(texts: list[str], start: int, given: list[int] | None = None) -> SimpleNamespace:
        numbers = np.array(given or [i % 2 for i in range(len(texts))])
        return SimpleNamespace(texts=texts, labels=numbers, row_ids=np.arange(start, start + len(texts)))

    parts = {"train": split(train, 100, labels), "validation": split(validation, 500), "test": split(test, 900)}
    return SimpleNamespace(label_names=NAMES, **parts)


def test_data_report_finds_planted_repeats_leaks_and_conflicts() -> None:
    """Each of them flatters a score or teaches a contradiction, and none stops a training."""
    found = data_report(
        corpus(
            ["Good day", "good  day", "they left in 1999!", "one more", "another text", "last of all"],
            ["GOOD DAY", "nothing of that"],
            ["In they left: 2001", "fresh words"],
        )
    )
    leaks = found.leaks.set_index(["in", "and", "kind"])["rows"]
    assert leaks["train", "validation", "exact"] == 1
    assert leaks["train", "test", "near"] == 1
    assert leaks.sum() == 2
    assert found.conflicts["text"].tolist() == ["Good day"]
    assert set(found.repeats["kind"]) == {"exact", "near"}
    assert found.counts.loc["train", "all"] == 6
    assert found.lengths.loc["train", "longest"] == 4
    assert found.to_metrics()["data/leaking_rows"] == 2


def test_planted_label_errors_are_found_first() -> None:
    """A list of doubtful labels that starts with sound ones is not read to its end."""
    rng = np.random.default_rng(0)
    truth = np.arange(300) % 2
    words = (("sun", "tree", "bread", "song"), ("fist", "blood", "wreck", "howl"))
    texts = [" ".join(rng.choice(words[k], 3)) + f" n{i}" for i, k in enumerate(truth)]
    flipped = rng.choice(300, 12, replace=False)
    labels = truth.copy()
    labels[flipped] = 1 - labels[flipped]
    found = data_report(corpus(texts, ["a", "b"], ["c", "d"], labels.tolist())).label_errors
    assert set(found["row_id"][:12]) == set(100 + flipped)
    assert (found["label"] != found["suggested"]).all()


def test_confident_disagreement_equals_its_definition() -> None:
    """Row by row: another label at least as probable as on its own rows, the most probable of them."""
    rng = np.random.default_rng()
    labels, scores = np.concatenate([[0, 1, 2], rng.integers(0, 3, 60)]), rng.dirichlet([0.5] * 3, 63)
    usual = [scores[labels == k, k].mean() for k in range(3)]
    expected = {}
    for i in range(63):
        confident = [k for k in range(3) if scores[i, k] >= usual[k]]
        if confident and (best := max(confident, key=lambda k: scores[i, k])) != labels[i]:
            expected[i] = best
    rows, suggested = confident_disagreement(labels, scores)
    assert dict(zip(rows.tolist(), suggested.tolist(), strict=True)) == expected


def runs_table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "variant": ["odd", "odd", "lora"],
            "test/f1_macro": [0.77, 0.79, 0.7],
            "test/f1_label_hate": [0.5, 0.6, 0.4],
            "cost/parameters": [17_400_000, 17_400_000, 22_800_000],
            "cost/trainable_parameters": [17_400_000, 17_400_000, 74_000],
            "cost/latency_p50_ms": [4.6, 4.8, np.nan],
        }
    )


def test_table_shows_mean_and_spread_in_every_form() -> None:
    """A mean without its spread is the figure that misleads; a missing one must not become 0."""
    floors = {"tfidf": {"test/f1_macro": 0.7, "accuracy": 0.88}}
    table = comparison_table(runs_table(), floors, task=TASK, winner="odd", synthetic=True)
    for text in (table.to_text(), table.to_markdown(), table.to_html()):
        assert "0.780 ± 0.014" in text
        assert "17.4 M" in text
        assert "74,000" in text
        assert "0.880" in text
        assert "ynthetic data" in text
        assert "nan" not in text
    lines = table.to_text().splitlines()
    assert lines[2].startswith("* odd")
    assert len({len(line) for line in lines[:2]}) == 1
    assert table.kinds == ("winner", "variant", "floor")
    assert dict(zip(table.titles, table.rows[1], strict=True))["latency ms"] == "–"
    widths = {line.count("|") for line in table.to_markdown().splitlines() if line.startswith("|")}
    assert widths == {len(table.titles) + 1}


def test_names_cannot_break_the_page() -> None:
    """A label or variant name from a data file is text, not markup."""
    runs = runs_table().replace("odd", "<script>x</script>")
    assert "<script>" not in comparison_table(runs).to_html()


class Outside(HTMLParser):
    """Collects what a page would load, and whether its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.loads += [value for name, value in attrs if name in ("src", "href", "srcset") and value]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_report_is_one_file_that_says_everything(tmp_path: Path) -> None:
    """A report that loads something from outside is empty on the machine of the reader."""
    candidates = [Candidate(n, {s: scored_run(s + i * 9) for s in (0, 1)}) for i, n in enumerate(("odd", "<even>"))]
    verdict = choose_winner(candidates, EvidenceSettings(bootstrap_samples=100), positive=1)
    table = comparison_table(runs_table(), task=TASK, winner=verdict.winner)
    figure = plot_reliability(scored_run(1), scored_run(2))
    section = Section(
        "Data & <labels>",
        ("5 < 6",),
        (Picture(figure, 'a "plot"'),),
        (("rows", pd.DataFrame({"a<b": [1.5], "t": ["x&y"]})),),
    )
    report = Report("Odd <or> even", {"data": "sample"}, table, verdict, (section,), synthetic=True)
    page = write_report(tmp_path / "deep" / "report.html", report).read_text(encoding="utf-8")
    parser = Outside()
    parser.feed(page)
    assert parser.open == []
    assert parser.loads
    assert all(load.startswith("data:image/svg+xml;base64,") for load in parser.loads)
    assert "url(" not in page
    assert "@import" not in page
    assert "Synthetic data" in page
    assert "are a tie, whichever rows they got right" in page
    assert "Data &amp; &lt;labels&gt;" in page
    assert "&lt;even&gt;" in page
    assert "$" not in re.sub(r"base64,[^\"]+", "", page)
    real = write_report(tmp_path / "real.html", Report("t", {}, table, verdict)).read_text(encoding="utf-8")
    assert "Synthetic data" not in real


def test_the_first_screen_says_what_ships_and_what_it_costs() -> None:
    """A reader who has ten seconds must not look for the winner, its loss and its cost in a table."""
    costs = {"teacher": 21.3e6, "odd": 10.7e6}
    made = [Candidate(n, {0: scored_run(i)}, {"operations_per_token": c}) for i, (n, c) in enumerate(costs.items())]
    verdict = choose_winner(made, EvidenceSettings(bootstrap_samples=100), positive=1)
    runs = pd.DataFrame(
        {"variant": list(costs), "test/f1_macro": [0.8, 0.7], "cost/operations_per_token": costs.values()}
    )
    shown = {each.words: each.value for each in highlights(verdict, runs)}
    assert shown["ships"] == verdict.winner == "odd"
    assert shown["macro-F1 on test"] == "0.700"
    assert (
        shown["largest loss of macro-F1 on validation against teacher, with 95% confidence"]
        == f"{verdict.may_lose:.3f}"
    )
    assert shown["operations per token, 50% of teacher's"] == "10.7 M"


@pytest.mark.parametrize("count", [2, 3, 77])
def test_plots_hold_any_number_of_labels_with_long_names(count: int) -> None:
    """Seventy-seven lines in one legend, or a picture of five feet, is no picture."""
    names = tuple(f"card_payment_issue_{i:02d}_that_nobody_recognised" for i in range(count))
    rng = np.random.default_rng(0)
    labels = rng.integers(0, count, 20 * count)
    logits = rng.normal(size=(len(labels), count)) + 3 * np.eye(count)[labels]
    exponents = np.exp(logits)
    scored = Scored(labels, exponents / exponents.sum(axis=1, keepdims=True), None, logits.astype(np.float32))
    decision = fit_decision(
        scored.logits, labels, DecisionSettings(), Task("binary" if count == 2 else "multiclass", names)
    )
    texts = tuple(f"text {i}" for i in range(len(labels)))
    split = SimpleNamespace(texts=texts, labels=labels)
    rows = SimpleNamespace(train=split, validation=split, test=split, label_names=names, positive=None)
    for figure in (plot_confusion(scored, names), plot_precision_recall(scored, decision), plot_data(rows)):
        assert max(figure.get_size_inches()) < 16
        assert figure_uri(figure)
        assert all(len(legend.get_texts()) <= 8 for legend in figure.legends)
    shown = [label for _, labels in shown_labels(rows) for label in labels]
    assert sorted(shown) == list(range(count))
    assert len(shown_labels(rows)) == min(count, 8)


def test_long_tables_open_on_request() -> None:
    """A report that begins with forty rows of training texts is not read to its verdict."""
    rows = pd.DataFrame({"text": [f"text {i}" for i in range(40)]})
    assert "<details><summary>Texts (40 rows)" in section_html(Section("t", (), (), (("Texts", rows),)))
    assert "<details>" not in section_html(Section("t", (), (), (("Texts", rows.head(3)),)))


def test_sections_say_what_was_measured() -> None:
    """The words beside a plot must come from the same rows as the plot."""
    scored = scored_run(3)
    decision = decision_for(scored)
    figures = decision_metrics(decision, scored.logits, scored.labels)
    words = decision_section("odd", scored, decision).paragraphs[0]
    assert f"from {figures['ece_before']:.3f} to {figures['ece']:.3f}" in words
    assert len(decision_section("odd", scored, decision).pictures) == 4
    with pytest.raises(ValueError, match="without logits"):
        decision_section("odd", Scored(scored.labels, scored.probabilities), decision)
    rows = corpus(["good day", "bad day", "good bread", "bad bread"], ["good sun", "bad sun"], ["good", "bad"])
    splits = {"validation": rows.validation, "test": rows.test}
    floors = fit_floors(rows.train, splits, label_names=NAMES, positive="hate")
    runs = runs_table().assign(**{"test/average_precision": 0.5})
    quality = quality_section(runs, history(), floors)
    assert [line.get_xdata()[0] for line in quality.pictures[0].figure.axes[0].lines[-2:]] == pytest.approx(
        [floors.metrics[name]["test/f1_macro"] for name in ("majority", "tfidf")]
    )
    (_, costs), *_ = cost_section(runs).tables
    assert float(costs.set_index("figure").loc["macro-F1 on test", "odd"]) == pytest.approx(0.78)
    found = data_report(rows)
    assert data_section(found, plot_data(rows)).paragraphs == tuple(found.sentences())


def test_same_figure_gives_the_same_bytes() -> None:
    """Reports of one run must not differ by a date or a random id."""
    assert figure_uri(plot_curves(history(), "odd")) == figure_uri(plot_curves(history(), "odd"))


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (1234.0, 0, "1,234"),
        (0.12345, 3, "0.123"),
        (0.0, 3, "0.000"),
        (1e-7, 3, "1.0e-07"),
        (float("nan"), 3, "–"),
        (float("inf"), 0, "∞"),
    ],
)
def test_numbers_are_written_for_people(value: float, places: int, text: str) -> None:
    """A tiny p-value that is written 0.000 claims certainty."""
    assert number_text(value, places) == text


def test_numbers_of_a_column_have_the_same_places() -> None:
    """14.500 above 16 cannot be read at a glance."""
    page = table_html(pd.DataFrame({"rows": [0, 12345], "words": [14.5, 16.0], "share": [0.5, 1.0]}))
    for text in (">0<", ">12,345<", ">14.5<", ">16.0<", ">1.000<"):
        assert text in page


def card_facts() -> dict:
    return {
        "name": "hate-speech",
        "variant": "odd",
        "version": "3",
        "run_id": "abc",
        "task": TASK.to_dict(),
        "max_length": 128,
        "data": {"name": "sample", "digest": "d1", "synthetic": True, "counts": {"train": 2100}},
        "teacher": "minilm",
        "layer_map": [1, 3, 5],
        "decision": {"temperature": 1.25, "threshold": 0.4, "review": [0.3, 0.5], "target": "f1_macro"},
        "metrics": {
            "test/f1_macro": 0.781234,
            "test/accuracy": 0.9,
            "validation/f1_macro": 0.77,
            "cost/parameters": 17.4e6,
        },
        "limits": ["English only."],
        "settings": {"train.epochs": 3},
    }


def test_card_is_read_by_the_hubs_own_parser() -> None:
    """A block that the hub cannot read leaves the page without figures."""
    card = ModelCard(model_card(card_facts()))
    (result, *_) = [r for r in card.data.eval_results if r.metric_type == "f1"]
    assert result.metric_value == pytest.approx(0.7812)
    assert (result.dataset_name, result.dataset_split, result.task_type) == ("sample", "test", "text-classification")
    assert card.data.model_name == "hate-speech-odd"
    assert "synthetic-data" in card.data.tags
    for words in (
        "layers 1, 3, 5",
        "English only.",
        "0.400",
        "Synthetic data",
        "d1",
        "train.epochs",
        "| parameters | 17,400,000 |",
    ):
        assert words in card.text


def test_card_says_nothing_that_was_not_recorded() -> None:
    """A default sentence about a model that nobody measured is a claim."""
    facts = {key: card_facts()[key] for key in ("name", "variant", "task", "metrics")}
    text = model_card(facts | {"data": {"name": "rows.csv"}})
    assert yaml.safe_load(text.split("---")[1])["library_name"] == "transformers"
    for words in ("None", "Limits", "Decision", "Settings", "Synthetic", "layers"):
        assert words not in text
    with pytest.raises(ValueError, match="metrics"):
        model_card({"name": "x", "variant": "odd", "task": {}, "data": {}})
