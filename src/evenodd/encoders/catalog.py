"""The variants there are. Two that differ by a value differ in this table, not in code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Variant:
    """One way to make the classifier, or to make it cheaper.

    Attributes:
        name: as in `-P variants=` and the registry's aliases.
        family: whose default settings apply.
        layers: how the kept layers are chosen; None: all of them stay.
        distilled: learns from the fine-tuned teacher too.
        adapters: trained with LoRA adapters.
        summary: one line for tables, cards and the UI.
        adapter: which adapters, when there are any; `hybrid`: LoRA on the sensitive layers alone.
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
        """The entry point that fits it alone."""
        return f"distill_{self.name}" if self.distilled and not self.adapters else self.name

    @property
    def scores_layers(self) -> bool:
        """Whether the teacher's layers are scored before it is built."""
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
    """A variant by its name.

    Raises:
        ValueError: there is none; the message names them all.
    """
    if name not in VARIANTS:
        raise ValueError(f"variants={name}: not known; there are {', '.join(VARIANTS)}.")
    return VARIANTS[name]
