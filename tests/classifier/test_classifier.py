"""One answer for a text, whichever session scores it and however it is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from release_models import WORDS, tiny_model, tiny_tokenizer

from evenodd.classifier import Classifier
from evenodd.classifier import classifier as classifier_module
from evenodd.classifier.bundle import read_bundle
from evenodd.release import BundleContents, export_graphs, write_bundle
from evenodd.release.torch_session import torch_classifier
from evenodd.settings import ExportSettings
from evenodd.task import Decision, Task

TASK = Task.single_label(("good", "bad"), "bad")
DECISION = Decision(1.4, 0.55, (0.45, 0.65), "f1_macro", 1, TASK.labels, (0.0, -0.2))
AWKWARD = ("", " ", "12345 67890", "😀 🤦🏽‍♀️ 😡", "שלום עולם، مرحبا بالعالم", "\x00\x07", "東京は晴れ", "a\r\nb\tc")
MAX_LENGTH, OVERLAP = 32, 8


@pytest.fixture(scope="module")
def fitted() -> Classifier:
    """As it answers from the moment it is fitted: torch."""
    return torch_classifier(tiny_model(), tiny_tokenizer(), DECISION, max_length=MAX_LENGTH, window_overlap=OVERLAP)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("classifier")
    texts = [" ".join(WORDS[:12]), *AWKWARD]
    options = ExportSettings(kinds=("fp32",))
    graphs = export_graphs(
        tiny_model(), tiny_tokenizer(), made / "graphs", options, [], validation_texts=texts, max_length=MAX_LENGTH
    )
    contents = BundleContents("reviews", "odd", TASK, DECISION, window_overlap=OVERLAP)
    return write_bundle(made / "bundle", graphs, contents, texts)


@pytest.fixture(scope="module")
def exported(folder: Path) -> Classifier:
    return Classifier.open(folder)


def assert_same(first: Classifier, second: Classifier, texts: list[str]) -> None:
    """Windows are equal, scores agree to 1e-4, and labels and decisions are equal unless a score is on a boundary."""
    np.testing.assert_allclose(first.score(texts), second.score(texts), atol=1e-4)
    if not texts:
        return
    clear = first.decision.distance(first.score(texts)) > 1e-3
    for one, other, sure in zip(first.answer(texts), second.answer(texts), clear, strict=True):
        assert one.windows == other.windows
        assert not sure or (one.label, one.decision) == (other.label, other.decision)


def test_a_fitted_model_answers_as_its_bundle_does(fitted: Classifier, exported: Classifier) -> None:
    """`evaluate` of a version would tell figures of a model that nobody is served."""
    rng = np.random.default_rng()
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 60))) for _ in range(200)]
    assert_same(fitted, exported, [*texts, *AWKWARD, " ".join(rng.choice(WORDS, 10_000))])
    assert len({answer.decision for answer in exported.answer(texts)}) > 1


@given(st.lists(st.text(max_size=300), max_size=6))
@settings(max_examples=30, deadline=None)
def test_any_text_is_answered_alike(fitted: Classifier, exported: Classifier, texts: list[str]) -> None:
    """A script that one tokenizer path normalises differently changes the answers of those texts only."""
    assert_same(fitted, exported, texts)


def test_an_answer_is_that_of_its_text(exported: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorting by length, or reading in parts, would give each text another text's answer."""
    texts = [" ".join(WORDS[i % 7 : i % 7 + 4] * (1 + i % 20)) for i in range(50)]
    alone = [exported.answer([text])[0] for text in texts]
    monkeypatch.setattr(classifier_module, "CHUNK", 7)
    together = exported.answer(texts)
    assert [a.label for a in together] == [a.label for a in alone]
    np.testing.assert_allclose([a.score for a in together], [a.score for a in alone], atol=1e-5)
    assert max(a.windows for a in together) > 1
    assert all(sum(a.probabilities.values()) == pytest.approx(1) for a in together)


def test_nothing_asked_is_nothing_answered(exported: Classifier) -> None:
    """A chunk of no texts has no shape to join."""
    assert exported.answer([]) == []
    assert exported.score([]).shape == (0, 2)


def test_the_end_of_a_long_text_counts(fitted: Classifier) -> None:
    """A text that is cut is scored by its beginning."""
    by_word = {word: fitted.score([f"{word} " * 20])[0, 1] for word in WORDS}
    calm, alarming = min(WORDS, key=lambda word: by_word[word]), max(WORDS, key=lambda word: by_word[word])
    start = f"{calm} " * 200
    assert fitted.score([start + f"{alarming} " * 40])[0, 1] > fitted.score([start])[0, 1] + 0.01


def test_the_mode_that_a_model_was_left_in_changes_nothing(fitted: Classifier) -> None:
    """Dropout would answer each time another way."""
    model = tiny_model().train()
    trained = torch_classifier(model, tiny_tokenizer(), DECISION, max_length=MAX_LENGTH, window_overlap=OVERLAP)
    np.testing.assert_allclose(trained.score([" ".join(WORDS)]), fitted.score([" ".join(WORDS)]), atol=1e-6)
    assert model.training


def test_a_bundle_keeps_how_texts_are_read_and_decided(folder: Path) -> None:
    """An overlap or a pooling that the bundle does not carry is another answer in the service."""
    bundle = read_bundle(folder)
    assert (bundle.max_length, bundle.window_overlap) == (MAX_LENGTH, OVERLAP)
    assert (bundle.task, bundle.decision) == (TASK, DECISION)
