"""Tuning of a variant: trials as nested runs, what they found as artifacts, and the settings for the final fit."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna
from optuna.trial import TrialState
from transformers import AutoConfig

from evenodd import search as tuning
from evenodd import tracking
from evenodd.encoders.lora import merge_lora
from evenodd.flow.build import Built
from evenodd.flow.fit_model import Job, fit_model
from evenodd.flow.fit_variant import fit_variant, log_parameters, plain_teacher_uri
from evenodd.flow.materials import Materials
from evenodd.flow.plan import Plan, make_plan
from evenodd.flow.schedule.trials import run_at_once, trials_at_once
from evenodd.release.bench import latency_p50_ms
from evenodd.report.study_plots import study_figures
from evenodd.settings import TEACHER, Layer, Request, flatten

log = logging.getLogger(__name__)

Teachers = tuple[str | None, str | None]
"""Models of the teacher and of the one fitted without added rows, as `build` takes them."""

SCORE = "validation/f1_macro"


@dataclass(frozen=True)
class Search:
    """One variant's tuning: its plan under the settings as given, and how trials' plans are made."""

    name: str
    request: Request
    teacher_settings: Layer
    plan: Plan
    materials: Materials

    @property
    def said(self) -> set[str]:
        """Settings that the command says for this variant: they are not searched."""
        return {*self.request.said, *(self.request.for_teacher if self.name == TEACHER else ())}

    def plan_with(self, settings: Layer) -> Plan:
        """The plan of a trial."""
        return make_plan(self.name, self.request, overrides=settings, teacher_overrides=self.teacher_settings)


@dataclass(frozen=True)
class Tuned:
    """The best settings found, by dotted name, and how many trials were run here for them."""

    settings: Layer
    ran: int = 0


def tune(name: str, request: Request, materials: Materials, *, teacher_settings: Layer | None = None) -> Tuned:
    """Runs the trials that are missing, as runs nested under the open one; the best settings found.

    The two best trials and the settings as given are fitted again under `tune.confirm_seeds` further seeds, and the
    best of them over those seeds is taken: it may be the settings as given.

    With `trials=0` nothing is found. Settings that the command says are not searched. Trials with counterexamples are
    scored on weights that are not mixed with those of the fit without.

    Args:
        name: of the variant.
        request: what was said for the command.
        materials: rows and encoder.
        teacher_settings: those that the teacher's own tuning found.

    Raises:
        ValueError: an objective or a space that cannot be searched.
        RuntimeError: the study's database cannot be opened, or no trial was completed.
    """
    taught = teacher_settings or {}
    plan = make_plan(name, request, teacher_overrides=taught)
    wanted = plan.settings.tune
    if not wanted.trials:
        return Tuned({})
    tuning.check_objective(wanted.objective, plan.variant)
    search = Search(name, request, taught, plan, materials)
    study, space = open_search(search)
    teacher = fit_variant(plan.teacher, materials, nested=True, reuse=True) if plan.teacher else None
    teachers = (teacher.model_uri if teacher else None, plain_teacher_uri(teacher))
    log.info("tuning %s | %d trials | %s | study %s", name, wanted.trials, ", ".join(space), study.study_name)
    workers = trials_at_once(plan.settings, tuning.trials_left(study, wanted.trials))
    if workers > 1:
        ran = run_at_once(study, storage_of(search), plan.settings, workers, _join, (search, teachers))
    else:
        ran = _run_trials(search, teachers, study, space, None)
    if len(wanted.objective) == 1 and not wanted.worker:
        _confirm(search, study, teachers)
    _log_study(search, study)
    return Tuned(tuning.best_trial(study).params, ran)


def _join(given: tuple[Search, Teachers], storage: str, parent: str | None) -> int:
    """A worker of a study that several share; the number of trials that it ran."""
    search, teachers = given
    return _run_trials(search, teachers, *open_search(search, storage), parent)


def _run_trials(
    search: Search, teachers: Teachers, study: optuna.Study, space: tuning.Space, parent: str | None
) -> int:
    """Runs the trials that are missing, nested under the open run or under `parent`; their number."""
    wanted = search.plan.settings.tune
    evaluate = partial(_run_trial, search, study, teachers, parent)
    return tuning.run_trials(study, space, wanted.trials, evaluate, timeout=wanted.timeout_seconds)


def storage_of(search: Search) -> str:
    """URL of the database of a search."""
    return search.plan.settings.tune.storage or f"sqlite:///{search.plan.settings.home / 'optuna.db'}"


def open_search(search: Search, storage: str | None = None) -> tuple[optuna.Study, tuning.Space]:
    """The study of a search and its space; the settings as given are its first trial.

    Args:
        search: of a variant.
        storage: URL of the storage; None: see `storage_of`.
    """
    plan, wanted = search.plan, search.plan.settings.tune
    depth = _depth(search)
    given = {**flatten(plan.settings), "variant.depth": plan.settings.variant.depth or depth}
    space = tuning.search_space(plan.variant, depth=depth, said=search.said, given=given)
    fingerprint = plan.fingerprint(search.materials.corpus.digest, search.materials.encoder_digest)
    name = tuning.study_name(search.name, fingerprint, space, wanted.objective)
    study = tuning.open_study(name, storage or storage_of(search), seed=plan.settings.seed, objective=wanted.objective)
    tuning.enqueue_given(study, space, given)
    return study, space


def _depth(search: Search) -> int | None:
    """Layers of the deepest student, when latency is asked for and nothing said how many are kept."""
    plan = search.plan
    if "latency" not in plan.settings.tune.objective or not plan.variant.layers or plan.settings.variant.layers:
        return None
    return max(1, int(AutoConfig.from_pretrained(search.materials.encoder).num_hidden_layers) // 2)


def _run_trial(
    search: Search,
    study: optuna.Study,
    teachers: Teachers,
    parent: str | None,
    number: int,
    settings: dict[str, Any],
    report: tuning.Report,
) -> tuple[float, ...]:
    plan = search.plan_with(settings)
    tags = {"stage": "trial", "tuned_variant": search.name, "trial": str(number), "study": study.study_name}
    pruned: tuning.Pruned | None = None
    values: tuple[float, ...] = ()
    with tracking.start_run(f"trial {number}", tags=tags, nested=True, parent=parent):
        log_parameters(plan, search.materials, **settings)
        try:
            values = _score_trial(search, plan, teachers, f"{study.study_name}-{number}", report)
        except tuning.Pruned as error:
            pruned = error
        tuning.check_open(study, number)
        tracking.set_tags({"pruned": str(pruned is not None).lower()})
        tracking.flush()
    if pruned:
        log.info("tuning %s | trial %d pruned | %s", search.name, number, pruned)
        raise pruned
    log.info("tuning %s | trial %d | macro-F1 %.4f", search.name, number, values[0])
    return values


def _confirm(search: Search, study: optuna.Study, teachers: Teachers) -> None:
    """Fits the finalists again with further seeds. Fits that another process is making are left to it until the end."""
    first, count = search.plan.settings.seed, search.plan.settings.tune.confirm_seeds
    seeds = range(first + 1, first + 1 + count)
    left = [(trial, seed) for trial in (tuning.finalists(study) if count else ()) for seed in seeds]
    for wait in (False, True):
        left = [(trial, seed) for trial, seed in left if not _confirm_once(search, study, teachers, trial, seed, wait)]
    for number, mean in tuning.confirmed_means(study).items():
        log.info("tuning %s | trial %d | mean macro-F1 %.4f over %d further seeds", search.name, number, mean, count)


def _confirm_once(
    search: Search, study: optuna.Study, teachers: Teachers, trial: optuna.trial.FrozenTrial, seed: int, wait: bool
) -> bool:
    """Fits a finalist with a seed if no other call has; False if another process is doing so and `wait` is not set."""
    what = f"fitting trial {trial.number} again, seed {seed}"
    try:
        with tracking.lease(f"{study.study_name} trial {trial.number} seed {seed}", what, wait=wait):
            if seed not in tuning.confirmations(study).get(trial.number, {}):
                score = _score_again(search, study, teachers, trial, seed)
                if score is not None:
                    tuning.keep_confirmation(study, trial, seed, score)
    except tracking.LeaseHeldError:
        return False
    return True


def _score_again(
    search: Search, study: optuna.Study, teachers: Teachers, trial: optuna.trial.FrozenTrial, seed: int
) -> float | None:
    """A finalist's macro-F1 under another seed; None where the fit fails, and the finalist is out of the choice."""
    plan = search.plan_with({**trial.params, "seed": seed})
    tags = {"stage": "confirmation", "tuned_variant": search.name, "trial": str(trial.number), "seed": str(seed)}
    log.info("tuning %s | fitting trial %d again | seed %d", search.name, trial.number, seed)
    try:
        with tracking.start_run(f"trial {trial.number} · seed {seed}", tags=tags, nested=True):
            log_parameters(plan, search.materials, **trial.params)
            folder = f"{study.study_name}-seed{seed}-{trial.number}"
            score = _score_trial(search, plan, teachers, folder, lambda f1_macro, epoch: None)[0]
            tracking.flush()
    except tuning.FAULTS as error:
        log.warning("trial %d under seed %d failed | %s", trial.number, seed, error)
        return None
    return score


def _score_trial(
    search: Search, plan: Plan, teachers: Teachers, folder_name: str, report: tuning.Report
) -> tuple[float, ...]:
    """Validation macro-F1 of the weights that the fit leaves, and latency when asked for. Test is not read."""
    folder = plan.settings.home / "trials" / folder_name
    shutil.rmtree(folder, ignore_errors=True)
    try:
        built, fitted = fit_model(Job(plan, search.materials, teachers, folder), _by_epoch(report))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    values = {"f1": fitted.score}
    tracking.log_metrics({SCORE: fitted.score})
    if "latency" in plan.settings.tune.objective:
        values["latency"] = _latency(built, plan)
        tracking.log_metrics({"cost/latency_p50_ms": values["latency"]})
    return tuple(values[name] for name in plan.settings.tune.objective)


def _by_epoch(report: tuning.Report) -> Callable[[dict[str, float], int], None]:
    """Hands metrics to the tracking store, and each epoch's macro-F1 to the study as well."""
    epochs = 0

    def forward(metrics: dict[str, float], step: int) -> None:
        nonlocal epochs
        tracking.log_curves(metrics, step)
        if SCORE in metrics:
            epochs += 1
            report(metrics[SCORE], epochs)

    return forward


def _latency(built: Built, plan: Plan) -> float:
    model: Any = merge_lora(built.model) if plan.variant.adapters else built.model
    return latency_p50_ms(model.to("cpu"))


def _log_study(search: Search, study: optuna.Study) -> None:
    objective = search.plan.settings.tune.objective
    best = tuning.best_trial(study)
    table = tuning.trials_table(study, objective)
    given = tuning.given_trial(study)
    tracking.log_figures(study_figures(study))
    tracking.log_table("trials", table)
    text = tuning.best_yaml(study, search.name, search.request.config)
    path = search.plan.settings.home / "tuned" / f"{study.study_name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    tracking.log_text(text, f"tuned_{search.name}.yaml")
    states = table["state"].value_counts()
    figures = {f"tuning/{state.name.lower()}": float(states.get(state.name.lower(), 0)) for state in TrialState}
    figures |= {f"tuning/best_{name}": value for name, value in zip(objective, best.values, strict=True)}
    means = tuning.confirmed_means(study) if len(objective) == 1 else {}
    if given is not None:
        figures["tuning/given_f1"] = given.values[0]
    for which, trial in (("best", best), ("given", given)):
        if trial is not None and trial.number in means:
            figures[f"tuning/confirmed_{which}_f1"] = means[trial.number]
    tracking.log_metrics(figures)
    tracking.set_tags({"study": study.study_name, "best_trial": str(best.number)})
    log.info(
        "tuning %s | trial %d is taken%s | %s",
        search.name,
        best.number,
        ": nothing holds that is better than the settings as given" if given and best.number == given.number else "",
        path,
    )
