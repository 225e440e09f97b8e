"""Graphs: every family agrees with torch, adapters are never lost, files hold no traces of the machine."""

from __future__ import annotations

import getpass
import socket
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from release_models import BUILDERS, FULLY_FUSED, TEXTS, tiny_model, tiny_tokenizer

from evenodd.classifier.session import open_session
from evenodd.release.encode import TextEncoder, plain_tokenizer
from evenodd.release.graph import count_operators, fuse_graph, graph_inputs, merge_adapter, model_inputs, trace_graph
from evenodd.release.parity import check_parity, session_logits, torch_logits
from evenodd.settings import ExportSettings


def encoder_of(path: Path, max_length: int = 64) -> TextEncoder:
    return TextEncoder(plain_tokenizer(tiny_tokenizer()), graph_inputs(path), 0, max_length)


def lora_model(family: str = "bert") -> peft.PeftModel:
    """A LoRA model whose adapter and head say something else than the base."""
    config = peft.LoraConfig(task_type="SEQ_CLS", r=4, lora_alpha=8, target_modules=["query", "key", "value"])
    model = peft.get_peft_model(tiny_model(family), config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


@pytest.mark.parametrize("family", BUILDERS)
@pytest.mark.parametrize("fused", [False, True])
def test_graph_says_what_torch_says(family: str, fused: bool, tmp_path: Path) -> None:
    """A family whose mask or positions are frozen at the traced shape would be wrong for other lengths only."""
    model = tiny_model(family)
    path = trace_graph(model, model_inputs(model, tiny_tokenizer()), tmp_path / "plain.onnx")
    path = fuse_graph(path, tmp_path / "fused.onnx", model.config) if fused else path
    report = check_parity(model, open_session(path), encoder_of(path), TEXTS, ExportSettings())
    assert report.passed
    assert report.max_abs_diff < 1e-5
    logits = session_logits(open_session(path), encoder_of(path), TEXTS)
    assert np.ptp(logits, axis=0).min() > 0.01, "texts must differ in score, or parity shows nothing"


@pytest.mark.parametrize("family", FULLY_FUSED)
def test_attention_of_every_layer_is_fused(family: str, tmp_path: Path) -> None:
    """A new torch or transformers can change the traced pattern, and the optimizer then fuses nothing."""
    model = tiny_model(family)
    plain = trace_graph(model, model_inputs(model, tiny_tokenizer()), tmp_path / "plain.onnx")
    fused = count_operators(fuse_graph(plain, tmp_path / "fused.onnx", model.config))
    assert fused["Attention"] + fused["MultiHeadAttention"] == model.config.num_hidden_layers
    assert fused["Softmax"] == 0
    assert count_operators(plain)["Softmax"] == model.config.num_hidden_layers


@pytest.mark.parametrize("family", BUILDERS)
def test_graph_holds_nothing_of_the_exporting_machine(family: str, tmp_path: Path) -> None:
    """Traces keep source files and lines, which would ship inside every model."""
    model = tiny_model(family)
    plain = trace_graph(model, model_inputs(model, tiny_tokenizer()), tmp_path / "plain.onnx")
    fused = fuse_graph(plain, tmp_path / "fused.onnx", model.config)
    secrets = [str(Path(torch.__file__).parent.parent), str(Path.home()), str(tmp_path), str(Path.cwd()), ".py"]
    secrets += [name for name in (socket.gethostname(), f"/{getpass.getuser()}/") if len(name) > 3]
    for path in (plain, fused):
        raw = path.read_bytes()
        assert [secret for secret in secrets if secret.encode() in raw] == []


@pytest.mark.parametrize(("family", "has_types"), [("bert", True), ("roberta", False), ("deberta-v3", False)])
def test_token_types_are_an_input_only_where_the_family_has_them(family: str, has_types: bool, tmp_path: Path) -> None:
    """A service that feeds an input that the graph lacks, or leaves one out, fails at its first request."""
    model = tiny_model(family)
    path = trace_graph(model, model_inputs(model, tiny_tokenizer()), tmp_path / "plain.onnx")
    assert ("token_type_ids" in graph_inputs(path)) == has_types
    assert graph_inputs(path)[:2] == ("input_ids", "attention_mask")


def test_tracing_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    """torch's exporter flips training mode, and a model left in it gives other scores at the next evaluation."""
    model = tiny_model()
    model.set_attn_implementation("sdpa")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trace_graph(model, model_inputs(model, tiny_tokenizer()), tmp_path / "plain.onnx")
    assert not any(module.training for module in model.modules())
    assert model.config._attn_implementation == "sdpa"
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_model_in_training_mode_is_traced_without_dropout(tmp_path: Path) -> None:
    """Dropout traced into a graph makes it say something else each time."""
    model = tiny_model().train()
    path = trace_graph(model, model_inputs(model, tiny_tokenizer()), tmp_path / "plain.onnx")
    assert model.training
    assert check_parity(model, open_session(path), encoder_of(path), TEXTS, ExportSettings()).passed
    assert model.training


def test_unmerged_adapter_is_refused(tmp_path: Path) -> None:
    """Exporting the base under an adapter ships the wrong model under the right name."""
    with pytest.raises(ValueError, match=r"adapter is not merged.*merge_adapter"):
        trace_graph(lora_model(), ("input_ids", "attention_mask"), tmp_path / "plain.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_merged_adapter_gives_the_adapters_logits(family: str, tmp_path: Path) -> None:
    """A merge that drops the adapter or the trained head still loads and runs; only its scores tell."""
    model = lora_model(family)
    merged = merge_adapter(model)
    path = trace_graph(merged, model_inputs(merged, tiny_tokenizer()), tmp_path / "plain.onnx")
    encoder = encoder_of(path)
    expected = torch_logits(model, encoder, TEXTS)
    np.testing.assert_allclose(session_logits(open_session(path), encoder, TEXTS), expected, atol=1e-4)
    assert np.abs(expected - torch_logits(tiny_model(family), encoder, TEXTS)).max() > 0.1


def test_merging_leaves_the_adapter_in_place() -> None:
    """A caller that goes on training after an export would train nothing."""
    model = lora_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    merge_adapter(model)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_merging_a_plain_model_is_refused() -> None:
    """Asking to merge what has no adapter means that the wrong model was passed."""
    with pytest.raises(ValueError, match="no adapter to merge"):
        merge_adapter(tiny_model())


def test_a_merge_that_changes_the_scores_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """PEFT methods that cannot be merged exactly would ship other scores than were measured."""
    monkeypatch.setattr(peft.tuners.tuners_utils.BaseTuner, "merge_and_unload", lambda tuner: tuner.unload())
    with pytest.raises(RuntimeError, match=r"merging the adapter changed a logit by .* Not exported"):
        merge_adapter(lora_model())
