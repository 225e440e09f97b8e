"""Everything that one run of one variant depends on, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

from evenodd import __version__
from evenodd.encoders.catalog import Variant, find_variant
from evenodd.settings import TEACHER, Layer, Request, Settings, flatten, is_among

# Sections and dotted settings that determine the result of a fit, by kind of variant.
COMMON = ("name", "seed", "data", "teacher", "train", "decision", "evidence.suite")
STUDENT, HYBRID = ("variant.layers", "variant.depth"), ("variant.sensitive",)
SCORED = ("variant.importance", "variant.importance_rows")
DISTILLED = ("distill",)
ADAPTED, ADALORA = ("lora.rank", "lora.alpha", "lora.dropout", "lora.targets"), ("lora.initial_rank",)
LORA = ("lora.rslora", "lora.dora")
AUGMENT = ("data.augment_rows", "data.augment_turns", "data.augment_mix", "data.augment_kinds")
DEFAULT_VARIANTS = ("odd", "even", "lora")
NOT_THE_RESULT = ("train.log_steps", "distill.cache_budget_mb", "data.source", "data.slices", "teacher.source")


@dataclass(frozen=True)
class Plan:
    """A variant with its settings, and the plans of the models that it needs.

    Attributes:
        teacher: plan of a distilled variant's teacher.
        plain: the plan without the rows that `augment` adds, whose weights are mixed in.
    """

    variant: Variant
    settings: Settings
    teacher: Plan | None = None
    plain: Plan | None = None

    @property
    def used(self) -> tuple[str, ...]:
        """Sections and dotted settings that it uses."""
        return settings_of(self.variant)

    def fingerprint(self, corpus_digest: str, encoder_digest: str) -> str:
        """Same settings, rows, encoder, teacher and version of the package: same fingerprint, independent of paths."""
        flat = flatten(self.settings)
        unused = NOT_THE_RESULT + (AUGMENT if self.settings.data.augment == "none" else ())
        chosen = {k: str(v) for k, v in flat.items() if is_among(k, self.used) and k not in unused}
        teacher = self.teacher.fingerprint(corpus_digest, encoder_digest) if self.teacher else None
        parts = [self.variant.name, chosen, corpus_digest, encoder_digest, teacher, __version__]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


def settings_of(variant: Variant) -> tuple[str, ...]:
    """Sections and dotted settings that determine the result of a fit of the variant."""
    v = variant
    chosen = COMMON + (STUDENT if v.layers else ()) + (SCORED if v.scores_layers else ())
    chosen += DISTILLED if v.distilled else ()
    if v.adapters:
        chosen += ADAPTED + (ADALORA if v.adapter == "adalora" else LORA) + (HYBRID if v.adapter == "hybrid" else ())
    return chosen


def make_plan(
    name: str, request: Request, *, overrides: Layer | None = None, teacher_overrides: Layer | None = None
) -> Plan:
    """The plan of a variant for a command.

    Args:
        name: of the variant.
        request: the command's settings.
        overrides: settings that take precedence, such as those of a trial or a seed.
        teacher_overrides: the same for the teacher of a distilled variant.

    Raises:
        ValueError: an unknown variant, or settings that contradict each other.
    """
    variant = find_variant(name)
    own, teachers = dict(overrides or {}), dict(teacher_overrides or {})
    settings = request.settings_for(variant.family, name, own)
    teacher = make_plan(TEACHER, request, overrides=teachers) if variant.distilled else None
    plan = Plan(variant, settings, teacher)
    if settings.data.augment == "none" or settings.data.augment_mix == 1:
        return plan
    without = {"data.augment": "none"}
    plain = make_plan(name, request, overrides=own | without, teacher_overrides=teachers | without)
    return replace(plan, plain=plain)
