"""The Python API: a project is a task's rows and settings; its methods are the steps of the command line.

project = Project("reviews.csv")
odd, lora = project.fit("odd"), project.fit("lora", seeds=3)
print(project.compare(odd, lora).verdict)
odd.predict(["Awful food."])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenodd.encoders.catalog import VARIANTS, find_variant
from evenodd.flow.entries import ENTRIES
from evenodd.flow.logs import configure_logging, quieten_libraries
from evenodd.settings import Request, Settings, full_name, make_request, unknown

if TYPE_CHECKING:
    from evenodd.classifier import Answer
    from evenodd.flow.compare import Compared
    from evenodd.flow.evaluate import Evaluated
    from evenodd.flow.export import Exported
    from evenodd.flow.fit_variant import FittedRun
    from evenodd.flow.package import Packaged
    from evenodd.flow.promote import Promoted
    from evenodd.flow.scorer import Scorer


@dataclass(frozen=True)
class Model:
    """A fitted variant: one finished and registered run per seed.

    Attributes:
        name: name of the registered model.
        variant: variant from the catalog.
        runs: in the order of their seeds.
    """

    name: str
    variant: str
    runs: tuple[FittedRun, ...] = field(repr=False)

    @cached_property
    def best(self) -> FittedRun:
        """The run with the highest macro-F1 on validation.

        Raises:
            RuntimeError: nothing was fitted here, because another worker does the final fit.
        """
        if not self.runs:
            raise RuntimeError(f"{self.variant}: nothing was fitted here; another worker does the final fit.")
        return max(self.runs, key=lambda run: _metrics_of(run)["validation/f1_macro"])

    @property
    def version(self) -> str:
        """Version of the best run in the registry."""
        return self.best.version

    @property
    def metrics(self) -> dict[str, float]:
        """All metrics of the best run: `validation/…`, `test/…`, `cost/…`, `floor/…`."""
        return _metrics_of(self.best)

    def predict(self, texts: Sequence[str]) -> list[Answer]:
        """Answers of the best run's model, equal to the service's."""
        return self._scorer.classifier.answer(list(texts))

    @cached_property
    def _scorer(self) -> Scorer:
        from evenodd.flow.scorer import open_scorer

        return open_scorer(self.best.run_id, self.name)


class Project:
    """A task: its rows, its settings, and its models.

    Columns, labels and splits are inferred from the data unless they are given as settings. Settings have the names of
    the command line, with `__` for the dot: `epochs=2`, `lora__rank=4`, `teacher__epochs=3`, `config="study.yaml"`.
    Settings of the project apply to all of its methods; each method takes further settings for its call.

    Args:
        data: a file, a hub name, or `sample`.
        settings: any setting by its name.

    Raises:
        ValueError: settings are invalid; one message lists all faults.
    """

    def __init__(self, data: str | Path = "sample", **settings: Any) -> None:
        self._given = _full_names({"data": str(data), **settings})
        self._given.setdefault("name", self._check().settings.name)
        configure_logging()

    @property
    def name(self) -> str:
        """Name of the registered model, and by default of the experiment."""
        return self.settings.name

    @property
    def settings(self) -> Settings:
        """Settings that are common to all variants."""
        return self._check().settings

    def fit(self, variant: str = "odd", **settings: Any) -> Model:
        """Fits, measures and registers a variant, and first its teacher if it needs one.

        A finished fit of the teacher with the same settings and rows is reused; an interrupted one is resumed.

        Args:
            variant: `teacher`, `odd`, `even`, `lora`, … (`evenodd.encoders.VARIANTS`).
            settings: any setting of a fit: `seeds=3` repeats it, `trials=20` tunes it first.

        Raises:
            ValueError: settings, rows or encoder are faulty.
            RuntimeError: the teacher is no better than guessing, or the loss is NaN.
        """
        fitted = self._run(find_variant(variant).entry, settings)
        return Model(self.name, variant, fitted.runs)

    def compare(self, *models: Model, **settings: Any) -> Compared:
        """Compares models, or the newest runs of every variant: table, tests on validation, verdict and report.

        Raises:
            ValueError: the models share no seed, or have different rows.
        """
        if not models:
            compared: Compared = self._run("compare", settings)
            return compared
        from evenodd.flow.compare import compare_named

        request = self._request("compare", settings)
        return compare_named([run.run_id for model in models for run in model.runs], request)

    def evaluate(self, model: Model | str | None = None, data: str | Path | None = None, **settings: Any) -> Evaluated:
        """Scores a model (by default the champion) on labelled rows, or with `suite=` on a behaviour suite.

        Raises:
            ValueError: neither rows nor a suite are given.
        """
        if data is None and "suite" not in settings:
            raise ValueError("nothing to score: pass data= (a file of labelled rows) or suite=.")
        rows = {} if data is None else {"data": str(data)}
        evaluated: Evaluated = self._run("evaluate", settings | rows | _named(model))
        return evaluated

    def export(self, model: Model | str | None = None, **settings: Any) -> Exported:
        """Writes the ONNX graphs and the bundle of a model, or of the newest comparison's winner."""
        exported: Exported = self._run("export", settings | _named(model))
        return exported

    def promote(self, model: Model | str | None = None, **settings: Any) -> Promoted:
        """Makes a model, or the newest comparison's winner, the champion if every gate passes."""
        promoted: Promoted = self._run("promote", settings | _named(model))
        return promoted

    def package(self, model: Model | str | None = None, **settings: Any) -> Packaged:
        """Builds the Bento of an exported model, or of the champion."""
        packaged: Packaged = self._run("package", settings | _named(model))
        return packaged

    def _check(self) -> Request:
        return make_request(self._given, {variant.name: variant.family for variant in VARIANTS.values()})

    def _request(self, entry: str, settings: dict[str, Any]) -> Request:
        return ENTRIES[entry].request(_full_names(settings), shared=self._given)

    def _run(self, entry: str, settings: dict[str, Any]) -> Any:
        request = self._request(entry, settings)
        quieten_libraries()
        return ENTRIES[entry].run(request)


def _full_names(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings by dotted names.

    Raises:
        ValueError: a name is not a setting.
    """
    dotted = {name.replace("__", "."): value for name, value in settings.items()}
    strange = [unknown(name) for name in dotted if name != "config" and full_name(name) is None]
    if strange:
        raise ValueError("; ".join(strange))
    return {full_name(name) or name: value for name, value in dotted.items()}


def _named(model: Model | str | None) -> dict[str, str]:
    if model is None:
        return {}
    return {"model": model.version if isinstance(model, Model) else model}


def _metrics_of(run: FittedRun) -> dict[str, float]:
    from evenodd import tracking

    return tracking.figures_of(tracking.get_run(run.run_id))
