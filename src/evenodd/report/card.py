"""A model card in the hub's format, generated from the records of a run."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from evenodd.report.behaviour_plot import in_words
from evenodd.report.sections import COSTS
from evenodd.task import Task

TASK = "text-classification"
METRICS = {
    "f1_macro": ("f1", "Macro-F1"),
    "accuracy": ("accuracy", "Accuracy"),
    "average_precision": ("average_precision", "Average precision"),
    "ece": ("ece", "Expected calibration error"),
}
SHOWN = {key: words for key, (_, words) in METRICS.items()} | {"log_loss": "Log loss (nats)"}
BY_LABEL = {"f1": "F1", "precision": "Precision", "recall": "Recall"}
SYNTHETIC = "**Synthetic data**: the rows were made from templates; the figures say nothing about real texts."


def model_card(facts: Mapping[str, Any]) -> str:
    """Writes the card.

    Args:
        facts: as in a bundle's `bundle.json`: name, variant, task, data (name, digest, synthetic,
            and optionally `counts` by split), metrics by `split/metric`; optionally version, run_id, created,
            teacher, layer_map, decision, limits, settings (dotted names), max_length, license, language. Missing
            facts are left out.

    Returns:
        Markdown that begins with a YAML block between `---` lines: library, task, tags, metrics, and `model-index`
        with the test figures.

    Raises:
        ValueError: name, variant, task, data or metrics is missing.
    """
    missing = [key for key in ("name", "variant", "task", "data", "metrics") if key not in facts]
    if missing:
        raise ValueError(f"facts has no {', '.join(missing)}: a card needs name, variant, task, data and metrics.")
    head = yaml.safe_dump(card_metadata(facts), sort_keys=False, allow_unicode=True, width=100)
    parts = (_summary, _usage, _intended_use, _limits, _decision, _results, _origin, _settings)
    return f"---\n{head}---\n\n" + "\n\n".join(text for part in parts if (text := part(facts))) + "\n"


def card_metadata(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The YAML block as a dictionary, with the test metrics that the hub has names for."""
    data, metrics = facts["data"], facts["metrics"]
    measured = [
        {"type": kind, "name": words, "value": round(float(metrics[f"test/{key}"]), 4)}
        for key, (kind, words) in METRICS.items()
        if f"test/{key}" in metrics
    ]
    dataset = {"type": str(data["name"]), "name": str(data["name"]), "split": "test"}
    if data.get("digest"):
        dataset["revision"] = str(data["digest"])
    known = {key: facts[key] for key in ("license", "language") if facts.get(key)}
    tags = [TASK, "evenodd", str(facts["variant"]), *(["synthetic-data"] if data.get("synthetic") else [])]
    block: dict[str, Any] = {**known, "library_name": "transformers", "pipeline_tag": TASK, "tags": tags}
    block["metrics"] = list(dict.fromkeys(entry["type"] for entry in measured))
    if measured:
        result = {"task": {"type": TASK, "name": "Text classification"}, "dataset": dataset, "metrics": measured}
        block["model-index"] = [{"name": f"{facts['name']}-{facts['variant']}", "results": [result]}]
    return block


def _table(header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _summary(facts: Mapping[str, Any]) -> str:
    version = f", version {facts['version']}" if facts.get("version") else ""
    labels = ", ".join(f"`{name}`" for name in facts["task"]["labels"])
    lines = [f"# {facts['name']}: {facts['variant']}{version}", ""]
    if facts["data"].get("synthetic"):
        lines += [SYNTHETIC, ""]
    lines.append(f"Classifies a text as one of {labels}.")
    if facts.get("layer_map"):
        kept = ", ".join(map(str, facts["layer_map"]))
        lines.append(f"It keeps layers {kept} of its teacher, counted from 1.")
    if facts.get("max_length"):
        lines.append(f"It reads up to {facts['max_length']} tokens at a time.")
    return "\n".join(lines)


def _usage(facts: Mapping[str, Any]) -> str:
    address = f"models:/{facts['name']}@{facts['variant']}"
    lines = (
        "## Usage",
        "",
        "```python",
        "import mlflow",
        "",
        f'classifier = mlflow.pyfunc.load_model("{address}")',
        'classifier.predict(["one text", "another"])  # label, decision, score, a probability per label',
        f'model = mlflow.transformers.load_model("{address}").model  # in torch, to train on',
        "```",
        "",
        "```sh",
        f"evenodd score input=texts.csv output=labels.csv model={facts['variant']} name={shlex.quote(facts['name'])}",
        "```",
    )
    return "\n".join(lines)


def _intended_use(facts: Mapping[str, Any]) -> str:
    data, decision = facts["data"], facts.get("decision")
    lines = [
        f"Texts like those of {data['name']}, of the same source and language. On other texts, measure first: "
        "`evenodd evaluate data=labelled.csv`.",
    ]
    if decision and decision["review"][1] > decision["review"][0]:
        lines.append("With people who decide the texts that it sends to review.")
    lines.append("Not as the only basis of a decision about a person.")
    return "## Intended use\n\n" + "\n".join(f"- {line}" for line in lines)


def _decision(facts: Mapping[str, Any]) -> str:
    decision = facts.get("decision")
    if not decision:
        return ""
    low, high = decision["review"]
    rows = [("temperature", f"{decision['temperature']:.3f}"), ("chosen for", decision["target"])]
    if decision.get("bias"):
        rows.insert(1, ("bias", ", ".join(f"{value:+.3f}" for value in decision["bias"])))
    if decision.get("threshold") is not None:
        rows.append((f"threshold on `{facts['task']['positive']}`", f"{decision['threshold']:.3f}"))
        rows.append(("sent to people", f"{low:.3f} to {high:.3f}" if high > low else "nothing"))
    else:
        rows.append(("sent to review", f"highest probability under {high:.3f}" if high else "nothing"))
    return f"## Decision\n\nFitted on validation.\n\n{_table(('setting', 'value'), rows)}"


def _results(facts: Mapping[str, Any]) -> str:
    metrics = facts["metrics"]
    task = Task.from_dict(facts["task"])
    named = dict(SHOWN)
    for name, label in zip(task.labels, task.label_keys, strict=True):
        named |= {f"{kind}_label_{label}": f"{words} of `{name}`" for kind, words in BY_LABEL.items()}
    rows = []
    for key, words in named.items():
        cells = [_figure(metrics.get(f"{split}/{key}")) for split in ("validation", "test")]
        if any(cells):
            rows.append((words, *cells))
    parts = ["## Figures", _table(("figure", "validation", "test"), rows)]
    behaviour = [
        (in_words(key.removeprefix("behaviour/")), _figure(value))
        for key, value in metrics.items()
        if key.startswith("behaviour/")
    ]
    parts += [_table(("behaviour suite", "value"), behaviour)] if behaviour else []
    costs = [(words, _figure(metrics[key])) for key, words in COSTS.items() if key in metrics]
    parts += [_table(("cost", "value"), costs)] if costs else []
    return "\n\n".join(parts)


def _figure(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _origin(facts: Mapping[str, Any]) -> str:
    data = facts["data"]
    rows = [("data", data["name"]), ("data digest", data.get("digest"))]
    rows += [(f"rows, {split}", f"{count:,}") for split, count in (data.get("counts") or {}).items()]
    rows += [(words, facts.get(key)) for key, words in (("teacher", "teacher"), ("run_id", "run"), ("created", "made"))]
    return f"## Origin\n\n{_table(('what', 'which'), [row for row in rows if row[1]])}"


def _limits(facts: Mapping[str, Any]) -> str:
    limits = list(facts.get("limits") or ())
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in limits) if limits else ""


def _settings(facts: Mapping[str, Any]) -> str:
    settings = facts.get("settings")
    return f"## Settings\n\n{_table(('setting', 'value'), sorted(settings.items()))}" if settings else ""
