"""Schemas of the responses in `/docs.json`."""

from __future__ import annotations

from pydantic import BaseModel, Field

from .runtime import Runtime, Variant


class ModelName(BaseModel):
    """The model that answered."""

    name: str
    variant: str
    version: str | None
    run_id: str | None


class Result(BaseModel):
    """One text's answer."""

    label: str = Field(description="the label that the model gives")
    decision: str = Field(description="the label after threshold and review band, or `review`")
    score: float = Field(
        description="calibrated probability of the positive label, or of the label when none is positive"
    )
    probabilities: dict[str, float]
    truncated: bool = Field(description="always false: a long text is classified in windows")
    windows: int


class Classified(BaseModel):
    """Results in the order of the texts."""

    results: list[Result]
    model: ModelName


class WordWeight(BaseModel):
    """A part of the text, its position in characters, and the score of the text minus the score without the part."""

    word: str
    start: int
    end: int
    weight: float


class Explained(BaseModel):
    """Weights of words, and the whole text's answer."""

    words: list[WordWeight]
    label: str
    decision: str
    score: float
    probabilities: dict[str, float]
    of: str = Field(description="the label whose probability the weights explain")
    by: str = Field(description="what was left out: `word`, or `sentence` or `passage` of a longer text")
    model: ModelName


def variant_of(runtime: Runtime, name: str | None) -> Variant:
    """The variant of that name, or the default one.

    Raises:
        ValueError: no such variant.
    """
    if name is not None and name not in runtime.variants:
        raise ValueError(f"variant must be one of {', '.join(runtime.variants)}")
    return runtime.variants[name or runtime.default]
