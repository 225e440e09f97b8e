"""Export: every kind against its gate, the first-token restriction, and what ends up chosen."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from release_models import BUILDERS, TEXTS, tiny_model, tiny_tokenizer
from sklearn.metrics import f1_score

from evenodd.classifier.session import open_session
from evenodd.flow.export import recommend
from evenodd.release import export
from evenodd.release.checked import Checked
from evenodd.release.encode import PROBE_TEXTS, TextEncoder, plain_tokenizer, sorted_batches
from evenodd.release.export import FILES, Graphs, export_graphs
from evenodd.release.first_token import keep_first_token
from evenodd.release.graph import count_operators, graph_inputs, lean_graph, model_inputs, trace_graph
from evenodd.release.parity import check_parity, compare_logits, session_logits
from evenodd.release.quantize import INT8_RECIPES, Int8Recipe, head_products, write_int8
from evenodd.settings import ExportSettings, resolve_settings

MANY = [f"{a} {b} {c}" for a in ("i", "we", "they") for b in ("hate", "love", "like") for c in TEXTS]
LOOSE = ExportSettings(max_int8_flips=1.0, max_int8_f1_loss=1.0)


def plain_graph(family: str, folder: Path) -> tuple[torch.nn.Module, Path, TextEncoder]:
    """A tiny model, its traced graph, and an encoder for it."""
    model = tiny_model(family)
    path = trace_graph(model, model_inputs(model, tiny_tokenizer()), folder / "plain.onnx")
    return model, path, TextEncoder(plain_tokenizer(tiny_tokenizer()), graph_inputs(path), 0, 64)


@pytest.mark.parametrize("family", BUILDERS)
def test_lean_graph_says_what_torch_says(family: str, tmp_path: Path) -> None:
    """A restriction pushed through the wrong axis still runs; for one length or one row it can even be right."""
    model, plain, encoder = plain_graph(family, tmp_path)
    lean = lean_graph(plain, tmp_path / "lean.onnx", model.config)
    report = check_parity(model, open_session(lean), encoder, TEXTS, ExportSettings())
    assert report.max_abs_diff < 1e-5
    for width, rows in ((1, 1), (2, 3), (40, 2)):
        feeds = encoder.pad([list(range(5, 5 + width))] * rows)
        expected = open_session(plain).session.run(None, feeds)[0]
        np.testing.assert_allclose(open_session(lean).session.run(None, feeds)[0], expected, atol=1e-4)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra"])
def test_last_layer_works_on_the_first_token_only(family: str, tmp_path: Path) -> None:
    """A new traced pattern would stop the restriction at once: nothing breaks, a third of the speed is gone."""
    _, plain, encoder = plain_graph(family, tmp_path)
    graph = onnx.load(str(plain))
    assert keep_first_token(graph) > 0
    names = [node.output[0] for node in graph.graph.node if node.op_type == "MatMul"]
    graph.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in names)
    onnx.save(graph, str(tmp_path / "probed.onnx"))
    shapes = [
        x.shape for x in open_session(tmp_path / "probed.onnx").session.run(names, encoder.pad([[2, *range(5, 15), 3]]))
    ]
    restricted = [shape for shape in shapes if shape[-2] == 1]
    assert len(restricted) == 6, "query, scores, context, attention output and the two feed-forward products"
    others = 2 * 8 + 2 + (family == "electra")  # ELECTRA widens its embeddings by a product
    assert len(shapes) - len(restricted) == others, "eight in each other layer; key and value of the last"


def test_a_graph_that_takes_no_first_token_is_left_alone(tmp_path: Path) -> None:
    """A mean over tokens needs every token of the last layer."""
    model = tiny_model("modernbert")
    model.config.classifier_pooling = "mean"
    path = trace_graph(model, ("input_ids", "attention_mask"), tmp_path / "plain.onnx")
    graph = onnx.load(str(path))
    before = graph.SerializeToString()
    assert keep_first_token(graph) == 0
    assert graph.SerializeToString() == before


@pytest.mark.parametrize("recipe", INT8_RECIPES, ids=lambda recipe: recipe.name)
def test_int8_stores_products_in_eight_bits_and_stays_close(recipe: Int8Recipe, tmp_path: Path) -> None:
    """A quantizer that finds nothing to do writes the float graph under the name of int8."""
    model, plain, encoder = plain_graph("bert", tmp_path)
    source = lean_graph(plain, tmp_path / "lean.onnx", model.config)
    calibration = [feeds for _, feeds in sorted_batches(encoder.encode(MANY), encoder, 8)]
    path = write_int8(source, tmp_path / "int8.onnx", recipe, calibration)
    expected = session_logits(open_session(source), encoder, MANY)
    report = compare_logits("int8", expected, session_logits(open_session(path), encoder, MANY), LOOSE)
    assert 0 < report.max_abs_diff < 0.5
    assert report.flip_share < 0.15
    left = [
        t for t in onnx.load(str(path)).graph.initializer if len(t.dims) == 2 and t.data_type == onnx.TensorProto.FLOAT
    ]
    shapes = sorted(tuple(t.dims) for t in left if "embeddings" not in t.name)
    assert (32, 32) not in shapes or len([s for s in shapes if s == (32, 32)]) <= 1, "only the pooler's matrix is float"


@pytest.mark.parametrize("recipe", [r for r in INT8_RECIPES if r.method == "dynamic"], ids=lambda recipe: recipe.name)
def test_weights_of_products_hold_seven_bits(recipe: Int8Recipe, tmp_path: Path) -> None:
    """With eight, a processor without VNNI adds products in 16 bits, which saturate: other answers than exported."""
    model, plain, encoder = plain_graph("bert", tmp_path)
    source = lean_graph(plain, tmp_path / "lean.onnx", model.config)
    calibration = [feeds for _, feeds in sorted_batches(encoder.encode(MANY), encoder, 8)]
    graph = onnx.load(str(write_int8(source, tmp_path / "int8.onnx", recipe, calibration))).graph
    weights = [onnx.numpy_helper.to_array(t) for t in graph.initializer if t.data_type == onnx.TensorProto.INT8]
    widest = max(int(np.abs(weight.astype(int)).max()) for weight in weights if weight.ndim == 2)
    assert 32 < widest <= 64
    assert 2 * 255 * widest < 2**15


def test_head_stays_in_float(tmp_path: Path) -> None:
    """The classifier's product is next to the logits, where rounding flips labels and gains nothing."""
    _, plain, _ = plain_graph("bert", tmp_path)
    head = head_products(onnx.load(str(plain)))
    assert len(head) == 2
    assert any("pooler" in name for name in head)
    assert any("classifier" in name for name in head)


def test_head_stays_in_float_in_the_file_too(tmp_path: Path) -> None:
    """The quantizer renames the head's products before it looks at which to leave out."""
    model, plain, _ = plain_graph("bert", tmp_path)
    graph = onnx.load(str(write_int8(plain, tmp_path / "int8.onnx", Int8Recipe("dynamic"))))
    quantised = [node.input[1] for node in graph.graph.node if node.op_type == "MatMulInteger"]
    assert len(quantised) == 6 * model.config.num_hidden_layers
    assert [name for name in quantised if "pooler" in name or "classifier" in name] == []


@pytest.mark.parametrize("recipe", [r for r in INT8_RECIPES if r.outliers_apart], ids=lambda recipe: recipe.name)
def test_ranges_without_calibration_texts_are_refused(recipe: Int8Recipe, tmp_path: Path) -> None:
    """Ranges out of nothing clip everything."""
    _, plain, _ = plain_graph("bert", tmp_path)
    with pytest.raises(ValueError, match="calibration_texts is empty"):
        write_int8(plain, tmp_path / "int8.onnx", recipe, [])


def test_export_makes_every_kind_and_records_every_candidate(tmp_path: Path) -> None:
    """A choice without its alternatives cannot be checked by anyone."""
    labels = np.arange(len(MANY)) % 2
    settings = LOOSE.model_copy(update={"kinds": ("fp32", "fp16", "int8"), "max_fp16_flips": 0.1})
    graphs = export_graphs(
        tiny_model(),
        tiny_tokenizer(),
        tmp_path,
        settings,
        MANY,
        max_length=64,
        validation_texts=MANY,
        validation_labels=labels,
    )
    assert {kind: path.name for kind, path in graphs.paths.items()} == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES.values()), "no working files are left"
    table = graphs.candidates
    assert set(table[table.kind == "fp32"].recipe) == {"plain", "fused", "lean"}
    assert set(table[table.kind == "int8"].recipe) >= {r.name for r in INT8_RECIPES if not r.fallback}
    assert table.groupby("kind").chosen.sum().to_dict() == {"fp32": 1, "fp16": 1, "int8": 1}
    assert (table.megabytes > 0).all()
    assert (table.sentences_per_second > 0).all()


def test_fp16_keeps_integer_inputs_and_float_logits(tmp_path: Path) -> None:
    """The service feeds int64 and reads float32, whatever runs inside."""
    settings = ExportSettings(kinds=("fp32", "fp16"), max_fp16_flips=0.1)
    graphs = export_graphs(tiny_model(), tiny_tokenizer(), tmp_path, settings, [], max_length=64, validation_texts=MANY)
    graph = onnx.load(str(graphs.paths["fp16"])).graph
    assert {i.type.tensor_type.elem_type for i in graph.input} == {onnx.TensorProto.INT64}
    assert graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert count_operators(graphs.paths["fp16"])["Attention"] == 3
    assert graphs.paths["fp16"].stat().st_size < 0.75 * graphs.paths["fp32"].stat().st_size


@pytest.fixture
def other_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    """An int8 graph that holds another model's weights."""

    def write_other(source: Path, path: Path, recipe: Int8Recipe, calibration: object) -> Path:
        model = tiny_model(seed=1)
        return trace_graph(model, model_inputs(model, tiny_tokenizer()), path)

    monkeypatch.setattr(export, "write_int8", write_other)


@pytest.mark.usefixtures("other_int8")
def test_int8_that_fails_its_gate_is_left_out_with_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A bundle without int8 is fine; one with an int8 graph that answers differently is not."""
    with caplog.at_level(logging.WARNING):
        graphs = export_graphs(
            tiny_model(), tiny_tokenizer(), tmp_path, ExportSettings(), [], max_length=64, validation_texts=MANY
        )
    assert set(graphs.paths) == {"fp32"}
    assert "int8 left out" in caplog.text
    assert "labels differ" in graphs.left_out["int8"]
    assert graphs.recommended == {"cpu": "fp32", "cuda": "fp32"}
    tried = graphs.candidates[graphs.candidates.kind == "int8"].recipe
    assert set(tried) >= {r.name for r in INT8_RECIPES if r.fallback}, "the slower, closer recipes get their chance"


@pytest.mark.usefixtures("other_int8")
def test_int8_that_fails_its_gate_is_an_error_when_it_was_all_that_was_asked_for(tmp_path: Path) -> None:
    """Someone who asks for int8 alone must not get float32 in its place."""
    with pytest.raises(RuntimeError, match=r"ONNX parity failed: .* labels differ .* Not registered\."):
        export_graphs(
            tiny_model(),
            tiny_tokenizer(),
            tmp_path,
            ExportSettings(kinds=("int8",)),
            [],
            max_length=64,
            validation_texts=MANY,
        )
    assert list(tmp_path.iterdir()) == []


def test_fp32_that_fails_parity_stops_the_export(tmp_path: Path) -> None:
    """A graph that is off must never reach the registry."""
    settings = ExportSettings(max_abs_diff=1e-12)
    with pytest.raises(RuntimeError, match=r"ONNX parity failed: 0 of \d+ labels differ \(max \|Δp\| .* > 1e-12\)\."):
        export_graphs(tiny_model(), tiny_tokenizer(), tmp_path, settings, [], max_length=64, validation_texts=MANY)
    assert list(tmp_path.iterdir()) == []


def test_export_without_validation_texts_is_refused(tmp_path: Path) -> None:
    """Parity over nothing always holds."""
    with pytest.raises(ValueError, match="validation_texts is empty"):
        export_graphs(
            tiny_model(), tiny_tokenizer(), tmp_path, ExportSettings(), [], max_length=64, validation_texts=[]
        )


def test_parity_reads_every_validation_text_by_default(tmp_path: Path) -> None:
    """A sample of the split lets a flip on one of the others pass."""
    labels = np.arange(len(MANY)) % 2
    for texts, asked in ((len(MANY), None), (9, 9)):
        graphs = export_graphs(
            tiny_model(),
            tiny_tokenizer(),
            tmp_path,
            ExportSettings(kinds=("fp32",), parity_texts=asked),
            [],
            max_length=64,
            validation_texts=MANY,
            validation_labels=labels,
        )
        assert graphs.chosen["fp32"].texts == texts + len(PROBE_TEXTS)
        predicted = session_logits(open_session(graphs.paths["fp32"]), graphs.encoder, MANY).argmax(axis=1)
        assert graphs.f1_macro == pytest.approx(f1_score(labels, predicted, average="macro"))


def named(asked: str = "checked", *, measured: bool = True, left_out: str = "") -> dict[str, str]:
    """What `export` names for each device."""
    checked = Checked(0.5, 0.7, 1e-5, 9, 0.4, 0.05, 1, 0) if measured else None
    paths = {kind: Path(kind) for kind in (("fp32",) if left_out else ("fp32", "int8"))}
    graphs = Graphs(paths, None, {}, None, left_out={"int8": left_out}, checked=checked)
    return recommend(graphs, resolve_settings({"serve.graph": asked})).recommended


def test_the_graph_asked_for_is_named_if_it_passed_its_gate(caplog: pytest.LogCaptureFixture) -> None:
    """An int8 graph that failed its gate must not be used; the speed of `checked` here does not matter elsewhere."""
    assert named() == {"cpu": "checked", "cuda": "fp32"}
    assert named("int8") == {"cpu": "int8", "cuda": "int8"}
    assert not caplog.text
    assert named(measured=False, left_out="3 of 9 labels differ") == {"cpu": "fp32", "cuda": "fp32"}
    assert "3 of 9 labels differ" in caplog.text


def test_windows_longer_than_the_position_table_are_refused(tmp_path: Path) -> None:
    """The graph would fail on the first long text in production and on no short one before."""
    with pytest.raises(ValueError, match=r"max_length=128: bert has 72 positions\. Pass at most 72\."):
        export_graphs(tiny_model(), tiny_tokenizer(), tmp_path, ExportSettings(), [], validation_texts=MANY)
