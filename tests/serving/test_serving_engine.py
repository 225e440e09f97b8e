"""`serving/` as functions: a bundle in, decisions out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_bundle import (
    WORDS,
    change_bundle,
    copy_bundle,
    reference_probabilities,
    seal,
    shared_bundle,
    tiny_tokenizer,
)
from tokenizers import Tokenizer

from evenodd.classifier.bundle import bundle_folders, read_bundle, read_bundles
from evenodd.classifier.engine import Engine, open_engine
from evenodd.classifier.scoring import batches_by_length
from evenodd.classifier.session import missing_for_cuda
from evenodd.classifier.text import Windows, find_words, leave_out
from serving.drift import Drift, population_stability
from serving.settings import Settings, read_settings

AWKWARD = (
    "12345 67890",
    "😀 🤦🏽‍♀️ 😡😡",
    "أنا أكره الجميع",
    "\u200b\u200d",
    "   ",
    "",
    "\x00\x07",
    "I HATE\tyou\r\n",
    "東京は晴れ",
)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return open_engine(read_bundle(shared_bundle()), Settings())


def random_texts(count: int, seed: int, longest: int = 24) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, longest))) for _ in range(count)]


def test_batched_scores_equal_one_by_one(engine: Engine) -> None:
    """Padding, sorting or putting back in order would change answers without an error."""
    texts = [*random_texts(60, seed=np.random.default_rng().integers(1 << 30)), *AWKWARD]
    found = engine.score(texts)
    expected = reference_probabilities(engine.bundle.folder, "fp32", texts, temperature=1.5)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_long_text_is_read_to_its_end() -> None:
    """Truncation would drop the end of a long text in silence."""
    windows = Windows(shared_bundle() / "tokenizer.json", max_length=32, overlap=8)
    text = " ".join(np.random.default_rng(3).choice(WORDS, 500))
    everything = tiny_tokenizer().encode(text, add_special_tokens=False).ids
    [parts] = windows.split([text])
    rebuilt = list(parts[0][1:-1])
    for part in parts[1:]:
        assert part[1:9] == rebuilt[-8:], "each window repeats the last eight tokens of the one before"
        rebuilt += part[9:-1]
    assert rebuilt == everything
    assert all(part[0] == 2 and part[-1] == 3 and len(part) <= 32 for part in parts)


def test_long_text_takes_its_most_positive_window(engine: Engine) -> None:
    """A hateful sentence after a thousand harmless words would not count."""
    text = " ".join(random_texts(40, seed=5))
    [parts] = engine.tokenize([text])
    by_window = engine.score_windows(parts)
    assert len(parts) > 3
    np.testing.assert_allclose(engine.score([text])[0], by_window[by_window[:, 1].argmax()], atol=1e-12)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 128), max_size=80), st.integers(16, 600), st.integers(0, 100))
def test_batches_hold_every_row_once_within_their_budgets(lengths: list[int], budget: int, padding: int) -> None:
    """A lost row would leave an answer that was never computed."""
    batches = list(batches_by_length(lengths, budget, padding))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        sizes = [lengths[i] for i in batch]
        assert len(batch) == 1 or max(sizes) * len(batch) <= budget
        assert len(batch) == 1 or max(sizes) * len(batch) - sum(sizes) <= padding


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_words_are_where_they_say(text: str) -> None:
    """The page colours by these places: one off, and it colours the wrong word."""
    words = find_words(text)
    assert all(text[word.start : word.end] == word.word for word in words)
    assert "".join(word.word for word in words) == "".join(text.split())
    assert all(len(shorter) < len(text) for shorter in leave_out(text, words))


def test_leaving_out_a_word_leaves_the_others() -> None:
    """Two spaces in a row, or words run together, would be another text for some tokenizers."""
    text = "I  hate\nall 東京"
    assert leave_out(text, find_words(text)) == [
        "hate\nall 東京",
        "I  all 東京",
        "I  hate\n東京",
        "I  hate\nall 京",
        "I  hate\nall 東",
    ]


def test_multiclass_bundle_is_served() -> None:
    """A bundle without a positive label has no threshold."""
    engine = open_engine(read_bundle(shared_bundle("multiclass")), Settings())
    texts = random_texts(5, seed=9)
    expected = reference_probabilities(engine.bundle.folder, "fp32", texts, temperature=1.5)
    np.testing.assert_allclose(engine.score(texts), expected, atol=1e-5)
    assert engine.decision.answer(engine.score(texts)[0])["label"] in ("calm", "rude", "cruel")


def test_cpu_takes_the_recommended_graph_and_says_so() -> None:
    """What `/info` shows must be the session's own word."""
    engine = open_engine(read_bundle(shared_bundle("int8")), Settings())
    assert (engine.graph, engine.provider) == ("int8", "cpu")
    assert engine.runtime["providers"] == ["CPUExecutionProvider"]
    assert engine.runtime["matrix_products"]["CPUExecutionProvider"] > 0
    assert open_engine(read_bundle(shared_bundle("int8")), Settings(graph="fp32")).graph == "fp32"


@pytest.mark.skipif(missing_for_cuda() is None, reason="a CUDA device is here")
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_provider_asked_for_by_name_stops_the_start(provider: str) -> None:
    """ONNX Runtime falls back to the CPU without an error."""
    with pytest.raises(RuntimeError, match=rf"provider='{provider}' did not start: .*(driver|built without|device)"):
        Engine(read_bundle(shared_bundle()), Settings(provider=provider))


@pytest.mark.gpu
@pytest.mark.skipif(missing_for_cuda() is not None, reason="no CUDA device")
def test_cuda_runs_the_products_and_agrees_with_the_cpu() -> None:
    """A listed provider proves nothing: the profile must place the products on it."""
    bundle = read_bundle(shared_bundle())
    cuda = open_engine(bundle, Settings(provider="cuda"))
    assert cuda.runtime["matrix_products"].get("CUDAExecutionProvider", 0) > 0
    texts = random_texts(40, seed=11)
    np.testing.assert_allclose(cuda.score(texts), open_engine(bundle, Settings(provider="cpu")).score(texts), atol=1e-4)


SAID = {"text": "x", "label": "noHate", "decision": "noHate", "score": 0.9}
SPOILED = [
    ({"format": 1}, "format=1"),
    ({"task": None}, "no 'task'"),
    ({"task.labels": ["hate"]}, "at least two"),
    ({"page": {"labels": {"spam": {"name": "Spam"}}}}, "page.labels.spam: the labels are"),
    ({"page": {"question": 3}}, "page.question: a sentence"),
    ({"page": {"colour": "red"}}, "page.colour is unknown"),
    ({"page": {"examples": [{"title": "One", "rows": [{"text": "a"}]}]}}, "page.examples[0]: each row"),
    ({"task.labels": ["hate", "review"]}, "label 'review'"),
    ({"task.positive": "love"}, "positive='love'"),
    ({"task.kind": "multiclass"}, "kind='multiclass'"),
    ({"decision.temperature": 0}, "decision.temperature=0"),
    ({"decision.temperature": True}, "decision.temperature=True"),
    ({"decision.bias": [0.0]}, "decision.bias=[0.0]: a number for each"),
    ({"decision.bias": [0.0, None]}, "a number for each"),
    ({"decision.threshold": None}, "missing ['threshold']"),
    ({"decision.threshold": 1.5}, "decision.threshold=1.5"),
    ({"decision.review": [0.7, 0.3]}, "decision.review"),
    ({"decision.review": "0.3"}, "decision.review='0.3'"),
    ({"decision.pooling": "sum"}, "decision.pooling='sum'"),
    ({"decision.margin": 1}, "unknown ['margin']"),
    ({"max_length": 129, "window_overlap": 8}, "max_length=129: the graph does not accept"),
    ({"max_length": 100_000}, "max_length=100000: the graph does not accept"),
    ({"max_length": "32"}, "max_length='32'"),
    ({"max_length": True}, "max_length=True"),
    ({"pad_token_id": -1}, "pad_token_id=-1"),
    ({"window_overlap": 1.5}, "window_overlap=1.5"),
    ({"variant": ""}, "variant=''"),
    ({"provider": "gpu"}, "provider='gpu'"),
    ({"layer_map": [0]}, "layer_map=[0]"),
    ({"metrics": {"test/f1_macro": "0.9"}}, "metrics="),
    ({"reference.score_edges": [1, 0]}, "reference="),
    ({"graphs": {"best": "model.onnx"}}, "graphs={'best'"),
    ({"recommended.tpu": "fp32"}, "recommended.tpu"),
    ({"samples": [{"text": 1, "probabilities": {}}]}, "samples[0]: a text, its label"),
    ({"samples": [{**SAID, "probabilities": {"fp32": [0.9, 0.9]}}]}, "sum to 1"),
    ({"samples": [{**SAID, "probabilities": {"fp32": [1.0]}}]}, "has 1 probabilities of fp32"),
    ({"samples": [{**SAID, "probabilities": {}}]}, "has 0 probabilities of fp32"),
    ({"samples": [{**SAID, "probabilities": {"fp32": [0.1, 0.9]}}]}, "task and decision give {'label': 'hate'"),
    ({"task.labels": ["hate", "noHate"]}, "labels, threshold or band were changed"),
    ({"decision.threshold": 1.0}, "labels, threshold or band were changed"),
    ({"decision.review": [0.0, 1.0]}, "labels, threshold or band were changed"),
    ({"surprise": 1}, "'surprise' is unknown"),
    ({"recommended.cpu": "int8"}, "recommended.cpu='int8'"),
    ({"inputs": ["attention_mask"]}, "input_ids is needed"),
    ({"inputs": ["input_ids", "attention_mask"]}, "inputs are"),
    ({"samples": []}, "samples is empty"),
    ({"window_overlap": 31}, "window_overlap=31"),
    ({"files": {"tokenizer.json": {"sha256": "0" * 64, "bytes": 1}}}, "no digest of 'model.onnx'"),
    ({"files": {"tokenizer.json": {"sha256": "0"}}}, "64 hexadecimal digits"),
]


@pytest.mark.parametrize(("change", "reason"), SPOILED, ids=[reason for _, reason in SPOILED])
def test_inconsistent_bundle_is_refused_with_the_field(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    """A service that starts on it would answer, and answer wrongly."""
    folder = copy_bundle(shared_bundle(), tmp_path / "bundle")
    change_bundle(folder, change)
    with pytest.raises(ValueError, match=r"bundle|graph") as fault:
        open_engine(read_bundle(folder), Settings())
    assert reason in str(fault.value)


def spoil_graph(folder: Path) -> None:
    data = bytearray((folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (folder / "model.onnx").write_bytes(data)


def swap_tokenizer(folder: Path) -> None:
    """Another vocabulary with a digest that fits: only the samples can tell."""
    values = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = values["model"]["vocab"]
    words = [word for word in vocabulary if word in WORDS]
    values["model"]["vocab"].update(dict(zip(words, (vocabulary[word] for word in reversed(words)), strict=True)))
    old = json.loads((folder / "bundle.json").read_text())["samples"]
    (folder / "tokenizer.json").write_text(json.dumps(values))
    Tokenizer.from_file(str(folder / "tokenizer.json"))
    seal(folder)
    change_bundle(folder, {"samples": old})


def link_card(folder: Path) -> None:
    """The same bytes from elsewhere, which may change after they were checked."""
    elsewhere = folder.parent / "card.md"
    (folder / "card.md").rename(elsewhere)
    (folder / "card.md").symlink_to(elsewhere)


def cut_graph(folder: Path) -> None:
    """A cut file with a digest that fits."""
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:-2000])
    import hashlib

    change_bundle(folder, {"files": {**json.loads((folder / "bundle.json").read_text())["files"]}})
    description = json.loads((folder / "bundle.json").read_text())
    whole = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
    description["files"]["model.onnx"] = whole
    (folder / "bundle.json").write_text(json.dumps(description))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_graph, "model.onnx has SHA-256"),
        (lambda folder: (folder / "model.onnx").unlink(), "model.onnx is missing"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer.json has SHA-256"),
        (lambda folder: (folder / "bundle.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / "bundle.json").unlink(), "no bundle.json"),
        (swap_tokenizer, "samples are not reproduced"),
        (cut_graph, "cannot load it"),
        (
            lambda folder: change_bundle(folder, {"files": {**_files(folder), "../x": {"sha256": "0"}}}),
            "inside the folder",
        ),
        (lambda folder: (folder / "hook.py").write_text("raise SystemExit"), "hook.py: not listed"),
        (link_card, "card.md: a link"),
    ],
    ids=[
        *("flipped bit", "no graph", "no tokenizer", "half a file", "nothing", "swapped tokenizer", "cut", "outside"),
        *("unlisted", "link"),
    ],
)
def test_bundle_with_wrong_files_is_refused(tmp_path: Path, spoil: Any, reason: str) -> None:
    """Digests show what was changed; samples show what was swapped together with its digest."""
    folder = copy_bundle(shared_bundle(), tmp_path / "bundle")
    spoil(folder)
    with pytest.raises(ValueError, match=r"bundle|graph") as fault:
        open_engine(read_bundle(folder), Settings())
    assert reason in str(fault.value)


def _files(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "bundle.json").read_text())["files"])


def test_two_bundles_of_one_variant_are_refused(tmp_path: Path) -> None:
    """The second would hide the first."""
    other = copy_bundle(shared_bundle(), tmp_path / "again")
    with pytest.raises(ValueError, match=r"variant='odd': both"):
        read_bundles([shared_bundle(), other])
    assert list(read_bundles([shared_bundle(), shared_bundle("even")])) == ["odd", "even"]
    with pytest.raises(ValueError, match="no bundle to serve"):
        read_bundles([])


def test_bundles_inside_are_found_in_order_of_name(tmp_path: Path) -> None:
    """The first one answers by default."""
    for name in ("b", "a"):
        copy_bundle(shared_bundle(), tmp_path / name)
    assert [folder.name for folder in bundle_folders((), tmp_path)] == ["a", "b"]
    assert bundle_folders((Path("x"),), tmp_path) == (Path("x"),)


def test_all_wrong_settings_are_reported_at_once() -> None:
    """One fault at a time costs a restart for each."""
    with pytest.raises(ValueError, match=r"EVENODD_PROVIDER='gpu'.*EVENODD_THREADS='0'") as fault:
        read_settings({"EVENODD_PROVIDER": "gpu", "EVENODD_THREADS": "0", "EVENODD_MAX_TEXTS": "9"})
    assert "EVENODD_MAX_TEXTS" not in str(fault.value)
    assert read_settings({"EVENODD_BUNDLE": "a:b", "EVENODD_TIMEOUT": "2.5"}).bundle == (Path("a"), Path("b"))


def test_population_stability_against_its_formula() -> None:
    """Bins in the wrong order or a missing logarithm still give a number."""
    p, q = np.array([100.5, 300.5]) / 401, np.array([200.5, 200.5]) / 401
    expected = (q[0] - p[0]) * np.log(q[0] / p[0]) + (q[1] - p[1]) * np.log(q[1] / p[1])
    assert population_stability(np.array([100, 300]), np.array([200, 200])) == pytest.approx(expected)
    assert population_stability(np.array([10, 30]), np.array([10, 30])) == 0


def test_drift_sees_a_move_and_not_its_absence() -> None:
    """An index that never rises would be trusted."""
    rng = np.random.default_rng(4)
    edges = np.linspace(0, 1, 11)
    counts = np.histogram(rng.beta(2, 5, 5000), edges)[0]
    same, moved = Drift(edges, counts), Drift(edges, counts)
    assert same.index is None, "too few texts say nothing"
    for _ in range(20):
        same.add(rng.beta(2, 5, 100))
        moved.add(rng.beta(5, 2, 100))
    assert same.index is not None
    assert moved.index is not None
    assert same.index < 0.1
    assert moved.index > 0.25


def test_dynamic_int8_is_known_to_depend_on_its_batch() -> None:
    """A text's score would change with the texts beside it, and nobody would know why."""
    dynamic, plain = (open_engine(read_bundle(shared_bundle(kind)), Settings()) for kind in ("int8", "binary"))
    assert dynamic.depends_on_batch
    assert not plain.depends_on_batch
    texts = random_texts(30, seed=13)
    windows = [parts[0] for parts in dynamic.tokenize(texts)]
    alone = dynamic.score_windows(windows, [True] * len(windows))
    np.testing.assert_array_equal(alone, np.concatenate([dynamic.score_windows([window]) for window in windows]))
    mixed = dynamic.score_windows(windows, [i % 2 == 0 for i in range(len(windows))])
    np.testing.assert_array_equal(mixed[::2], alone[::2])
