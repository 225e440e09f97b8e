"""All variants. Variants that differ only by a value differ in this table, not in code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Variant:
    """One way to build the classifier or to make it cheaper.

    Attributes:
        name: as in `-P variants=` and the registry's aliases.
        family: `teacher`, `student` or `lora`; selects the default settings.
        layers: rule that selects the kept layers; None: all layers are kept.
        distilled: whether it also learns from the fine-tuned teacher.
        adapters: whether it is trained with LoRA adapters.
        summary: one line for tables, cards and the UI.
        adapter: kind of adapters, if any; `hybrid`: LoRA on the sensitive layers only.
    """

    name: str
    family: Literal["teacher", "student", "lora"]
    layers: str | None
    distilled: bool
    adapters: bool
    summary: str
    adapter: Literal["lora", "adalora", "hybrid"] = "lora"

    @property
    def entry(self) -> str:
        """The entry point that fits only this variant."""
        return f"distill_{self.name}" if self.distilled and not self.adapters else self.name

    @property
    def scores_layers(self) -> bool:
        """Whether the teacher's layers must be scored before it is built."""
        return self.layers == "importance" or (self.adapters and self.adapter == "hybrid")


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("teacher", "teacher", None, False, False, "the full-depth encoder, fine-tuned"),
        Variant("odd", "student", "odd", True, False, "half depth from the odd layers, distilled"),
        Variant("even", "student", "even", True, False, "half depth from the even layers, distilled"),
        Variant("top", "student", "top", True, False, "half depth from the last layers, distilled"),
        Variant("bottom", "student", "bottom", True, False, "half depth from the first layers, distilled"),
        Variant("random", "student", "random", True, False, "half depth, layers drawn anew for each seed, distilled"),
        Variant(
            "undistilled",
            "student",
            "odd",
            False,
            False,
            "half depth from the odd layers, fine-tuned without a teacher",
        ),
        Variant(
            "importance", "student", "importance", True, False, "half depth from the layers that matter most, distilled"
        ),
        Variant("lora", "lora", None, False, True, "the full-depth encoder with LoRA adapters"),
        Variant("adalora", "lora", None, False, True, "the full-depth encoder with AdaLoRA adapters", "adalora"),
        Variant(
            "lora_student", "lora", "odd", True, True, "half depth from the odd layers with LoRA adapters, distilled"
        ),
        Variant(
            "hybrid",
            "student",
            "odd",
            True,
            True,
            "half depth from the odd layers, distilled: LoRA on the sensitive ones, the others in full",
            "hybrid",
        ),
    )
}


def find_variant(name: str) -> Variant:
    """Returns a variant by its name.

    Raises:
        ValueError: no variant has this name; the message lists all names.
    """
    if name not in VARIANTS:
        raise ValueError(f"variants={name}: not known; there are {', '.join(VARIANTS)}.")
    return VARIANTS[name]
