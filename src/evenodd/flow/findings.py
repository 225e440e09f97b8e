"""The result of a comparison, logged to the run that people open."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from evenodd import tracking
from evenodd.evidence.verdict import Verdict
from evenodd.flow.fit_variant import log_rows
from evenodd.flow.materials import Materials
from evenodd.flow.report import Comparison, Shown
from evenodd.report.highlights import OPERATIONS
from evenodd.tracking.names import METRICS

CARRIED = ("test/", "validation/", "cost/", "slices/")
"""Groups of the winner's figures that the run of a comparison has as metrics."""


def carry(compared: Comparison, shown: Shown, materials: Materials, stage: str, steps: Sequence[str] = ()) -> None:
    """Logs winner, verdict, figures, table, report, data sets and models to the open run.

    Args:
        compared: the comparison.
        shown: its table and page.
        materials: the rows.
        stage: main, study or compare.
        steps: the next commands, each with a comment.
    """
    verdict = compared.verdict
    tracking.rename_run(f"{verdict.winner or 'none'} ships · {stage} · {materials.corpus.name}")
    tracking.set_tags({"winner": verdict.winner or "none", "tie": str(verdict.tie).lower()})
    tracking.log_table("runs", compared.frame)
    tracking.log_table("comparison", shown.table.to_frame())
    tracking.log_text("\n".join(verdict.sentences), "verdict.txt")
    tracking.log_file(shown.page)
    tracking.log_metrics(_figures(compared) | materials.data_report.to_metrics())
    log_rows(materials)
    tracking.link_models([run.tags["model_uri"] for run in compared.runs], made=stage != "compare")
    describe(verdict, shown, steps)
    tracking.describe_experiment(first_line(compared, synthetic=materials.corpus.synthetic), verdict.sentences[0])


def _figures(compared: Comparison) -> dict[str, float]:
    """The winner's metrics, as means over seeds, and its largest loss."""
    verdict = compared.verdict
    if verdict.winner is None:
        return {}
    means = compared.means(verdict.winner)
    found = {key: means[key] for key in METRICS if key in means and key.startswith(CARRIED)}
    return found | {"validation/may_lose": verdict.may_lose}


def first_line(compared: Comparison, *, synthetic: bool) -> str:
    """One short line for the experiment's page: the winner, its score, its largest loss and its cost."""
    verdict = compared.verdict
    winner, reference = verdict.winner, str(verdict.reference)
    if winner is None:
        return f"**{verdict.sentences[0]}**"
    own = compared.means(winner)
    end = ["synthetic data"] if synthetic else []
    parts = [f"**{winner} ships**", f"macro-F1 **{own['test/f1_macro']:.3f}** (test)"]
    if winner != reference:
        cost = own[OPERATIONS] / compared.means(reference)[OPERATIONS]
        parts += [f"loses ≤ **{verdict.may_lose:.3f}** (validation)", f"**{cost:.0%}** of {reference}'s operations"]
    return " · ".join([*parts, *end])


def describe(verdict: Verdict, shown: Shown, steps: Sequence[str] = (), stopped: str | None = None) -> None:
    """Describes the open run: the verdict, the table, and the next commands.

    Args:
        verdict: of the comparison.
        shown: its table and page.
        steps: commands, each with a comment.
        stopped: why the promotion was refused; None if it was not.
    """
    headline, *reasons = verdict.sentences
    parts = [f"**{headline}**", *([f"**Not promoted**: {stopped}"] if stopped else [])]
    parts += [shown.table.to_markdown(), "\n".join(f"- {line}" for line in reasons)]
    parts += ["\n".join(["Next:", "", "```", *steps, "```"])] if steps else []
    tracking.describe("\n\n".join([*parts, f"The whole report is the artifact `{shown.page.name}`."]))


def next_steps(verdict: Verdict, source: str, name: str) -> tuple[str, ...]:
    """The commands that follow a comparison."""
    if verdict.winner is None:
        return ()
    rows = "" if source == "sample" else f" data={shlex.quote(source)}"
    steps = {
        f"evenodd export{rows}": "ONNX graphs of the winner, checked against the model",
        f"evenodd promote name={name}": "checks the gates and makes it the champion",
        "evenodd serve": "the HTTP API and its page, of the champion",
        f"evenodd package name={name}": "the Bento, for a container",
    }
    return tuple(f"{command:<48} # {why}" for command, why in steps.items())


def steps_of_shipped(name: str, alias: str | None) -> tuple[str, ...]:
    """The commands after `main`.

    Args:
        name: of the registered model.
        alias: of the promoted version; None if there is none.
    """
    steps = {
        "evenodd serve": "the HTTP API and its page, http://localhost:3000",
        "evenodd score input=texts.csv output=labels.csv": "a file of texts",
    }
    if alias:
        steps[f'mlflow.pyfunc.load_model("models:/{name}@{alias}").predict(["…"])'] = "in Python"
    return tuple(f"{command:<48} # {why}" for command, why in steps.items())
