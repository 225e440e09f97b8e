"""The entry points with the settings that each uses. Heavy modules are imported only when one runs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Protocol

from evenodd.encoders.catalog import VARIANTS, Variant, find_variant
from evenodd.flow.plan import DEFAULT_VARIANTS, settings_of
from evenodd.settings import (
    TEACHER,
    Request,
    Settings,
    field_paths,
    flatten,
    full_name,
    is_among,
    make_request,
    of_teacher,
    short_name,
)

COMMON = ("name", "experiment", "home")
FIT = (
    *("seed", "data", "teacher", "train", "decision", "run.fresh", "run.jobs", "run.engine"),
    *("evidence.seeds", "evidence.vary_split", "evidence.suite"),
)
SCORE = tuple(f"run.{name}" for name in ("model", "input", "output", "columns", "format", "jobs", "engine"))
STUDY = (*COMMON, *FIT, "tune", "evidence", "gates", "run.variants")
ROWS = ("data", "teacher.source", "teacher.revision")


class Result(Protocol):
    """The result of an entry point."""

    @property
    def text(self) -> str:
        """The printed form."""


@dataclass(frozen=True)
class Entry:
    """An entry point.

    Attributes:
        name: name, as in `mlflow run . -e NAME`.
        summary: one line for the help.
        uses: sections and dotted settings, in addition to those of the fitted variants.
        variant: the only variant that it fits.
        variants: default of the setting `variants` for an entry point that fits several.
    """

    name: str
    summary: str
    uses: tuple[str, ...]
    variant: str | None = None
    variants: tuple[str, ...] = ()

    def fitted(self, settings: Settings) -> list[Variant]:
        """The variants that it fits under these settings, including the teacher that they need."""
        names = [self.variant] if self.variant else [TEACHER, *self.named(settings)] if self.variants else []
        found = [find_variant(name) for name in dict.fromkeys(names)]
        on_the_way = [find_variant(TEACHER)] if any(variant.distilled for variant in found) else []
        return list(dict.fromkeys([*on_the_way, *found]))

    def named(self, settings: Settings) -> tuple[str, ...]:
        """The variants in the settings, or the default of the entry point."""
        return settings.run.variants or self.variants

    def used(self, settings: Settings) -> tuple[str, ...]:
        """Sections and dotted settings that it uses under these settings."""
        return self.uses + tuple(part for variant in self.fitted(settings) for part in settings_of(variant))

    def request(self, said: Mapping[str, Any], shared: Mapping[str, Any] | None = None) -> Request:
        """The request for this entry point.

        Args:
            said: settings given to this entry point, by short or dotted names.
            shared: settings given to several entry points, by full names; unused ones are ignored.

        Raises:
            ValueError: faults (see `make_request`) or settings that it does not use; one message lists all.
        """
        own = {full_name(name) or name for name in said}
        more = {path: value for path, value in (shared or {}).items() if path not in own}
        request = make_request({**more, **said}, {variant.name: variant.family for variant in VARIANTS.values()})
        settings = request.settings
        used = self.used(settings)
        unused = [path for path in request.said if not is_among(path, used)]
        faults = [self._unused(path, settings) for path in unused if path in own]
        if request.for_teacher and find_variant(TEACHER) not in self.fitted(settings):
            names = [name for name in own if of_teacher(name)]
            faults += [f"{name}: '{self.name}' does not fit a teacher." for name in names]
        if faults:
            raise ValueError(" ".join(faults))
        return replace(request, said={path: value for path, value in request.said.items() if path not in unused})

    def run(self, request: Request) -> Result:
        """Runs the entry point."""
        module = importlib.import_module(f"evenodd.flow.{'fit' if self.variant else self.name}")
        result: Result = module.run(self.variant, request) if self.variant else module.run(request)
        return result

    def help(self) -> str:
        """The help text: summary, and every used setting with its effective default."""
        settings, notes = Request().settings, field_paths()
        lines = [f"{self.name}: {self.summary}", "", f"  evenodd {self.name} name=value …"]
        lines += [f"  mlflow run . -e {self.name} -P name=value …", "", "Settings:"]
        lines.append(f"  {'config':<28} YAML file of settings; settings on the command line take precedence")
        for path, default in self._defaults().items():
            short = short_name(path)
            shown = f"{short} ({path})" if short != path else path
            lines.append(f"  {shown:<28} {notes[path]}{' ' if notes[path] else ''}[{default}]")
            if path == "teacher.source" and find_variant(TEACHER) in self.fitted(settings):
                lines.append(f"  {'teacher.epochs, …':<28} any setting of `train`, for the teacher alone")
        return "\n".join(lines)

    def _defaults(self) -> dict[str, str]:
        """The used settings with their defaults, which are listed by family if families differ."""
        request = Request()
        plain, used = flatten(request.settings), self.used(request.settings)
        fitted = [find_variant(self.variant)] if self.variant else self.fitted(request.settings)
        families = dict.fromkeys(variant.family for variant in fitted)
        by_family = {family: flatten(request.settings_for(family)) for family in families}
        shown = {}
        for path in filter(lambda path: is_among(path, used), plain):
            values = {family: _shown(flat[path]) for family, flat in by_family.items()}
            differ = len(set(values.values())) > 1
            words = "; ".join(f"{family} {value}" for family, value in values.items())
            shown[path] = words if differ else next(iter(values.values()), _shown(plain[path]))
        return shown | ({"run.variants": ",".join(self.variants)} if self.variants else {})

    def _unused(self, path: str, settings: Settings) -> str:
        others = [entry.name for entry in ENTRIES.values() if is_among(path, entry.used(Settings()))]
        why = f"{short_name(path)}: '{self.name}' does not use it"
        if self.variants and any(is_among(path, settings_of(variant)) for variant in VARIANTS.values()):
            why += f" with variants={','.join(self.named(settings))}"
        return f"{why}; used by {', '.join(others[:6])}{' …' if len(others) > 6 else ''}."


def find_entry(name: str) -> Entry:
    """Returns an entry point by its name.

    Raises:
        ValueError: there is no such entry point; the message lists all names.
    """
    if name not in ENTRIES:
        near = VARIANTS[name].entry if name in VARIANTS else next(iter(get_close_matches(name, ENTRIES, 1)), None)
        meant = f"Did you mean '{near}'? " if near else ""
        raise ValueError(f"'{name}' is not an entry point. {meant}There are {', '.join(ENTRIES)}.")
    return ENTRIES[name]


def _shown(value: object) -> str:
    if value is None:
        return "not set"
    return ",".join(str(part) for part in value) if isinstance(value, tuple) else str(value)


STEPS = (
    Entry(
        "main",
        "the whole chain: teacher, every named variant, compare, export, promote, package",
        (*STUDY, "export", "serve", "run.build"),
        variants=DEFAULT_VARIANTS,
    ),
    Entry(
        "study",
        "fits every named variant with every seed (tuned first if set) and compares them; resumes when repeated",
        STUDY,
        variants=DEFAULT_VARIANTS,
    ),
    Entry(
        "ablation",
        "effect of each term of the distillation loss: a student with its terms switched off one by one",
        (*COMMON, *FIT, "run.variants"),
        variants=("odd",),
    ),
    Entry(
        "compare",
        "compares the finished runs, tests their differences, names a winner or a tie",
        (*COMMON, *ROWS, "seed", "evidence", "gates", "run.variants"),
    ),
    Entry(
        "promote",
        "checks the gates and moves the champion alias",
        (*COMMON, "gates", "evidence.alpha", "evidence.bootstrap_samples", "run.to", "run.model"),
    ),
    Entry(
        "export",
        "writes ONNX graphs that passed parity, and the bundle that is served",
        (*COMMON, *ROWS, "export", "serve", "run.model"),
    ),
    Entry(
        "package",
        "builds the Bento from an exported bundle",
        (*COMMON, "run.model", "run.variants", "run.build", "run.follow", "export.signing_key"),
    ),
    Entry(
        "evaluate",
        "scores a registered model, run or bundle on a data file or a behaviour suite",
        (*COMMON, "data", "run.model", "evidence.suite", "run.predictions"),
    ),
    Entry(
        "score",
        "labels, decisions and scores for files of texts of any size; resumes when repeated",
        (*COMMON, "data.text_column", "data.encoding", *SCORE),
    ),
    Entry(
        "serve",
        "the service and its page, of the champion or of `model`, on http://localhost:3000",
        ("home", "name", "serve.provider", "run.model"),
    ),
)
ENTRIES = {
    entry.name: entry
    for entry in (
        *(Entry(v.entry, v.summary, (*COMMON, *FIT, "tune"), v.name) for v in VARIANTS.values()),
        *STEPS,
    )
}
