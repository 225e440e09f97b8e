"""Students: copied to the bit, apart from the teacher, and the same after saving and loading."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from release_models import BUILDERS, tiny_model, tiny_tokenizer
from training_rows import random_batch, still_model
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from evenodd.encoders import even_layers, init_student, load_encoder, odd_layers, state_digest
from evenodd.encoders.encoder import encoder_layers, set_dropout
from evenodd.task import Task

MAPS = {"odd": odd_layers, "even": even_layers}


@pytest.mark.parametrize("name", MAPS)
def test_twelve_layers_are_copied_to_the_bit(name: str) -> None:
    """A layer off by one trains well all the same: only the weights tell."""
    teacher = tiny_model("bert", depth=12)
    layers = MAPS[name](12)
    student = init_student(teacher, layers)
    kept = student.model.bert.encoder.layer
    assert len(kept) == 6
    for number, layer in zip(layers, kept, strict=True):
        _assert_equal(layer.state_dict(), teacher.bert.encoder.layer[number - 1].state_dict())
    for part in ("bert.embeddings", "bert.pooler", "classifier"):
        _assert_equal(student.model.get_submodule(part).state_dict(), teacher.get_submodule(part).state_dict())


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("family", BUILDERS)
def test_every_family_copies_its_layers(family: str, name: str) -> None:
    """A family with another name for its layers, or settings by layer, would copy the wrong ones."""
    teacher = tiny_model(family, depth=6)
    layers = MAPS[name](6)
    student = init_student(teacher, layers).model
    for position, (number, layer) in enumerate(zip(layers, encoder_layers(student), strict=True)):
        original = encoder_layers(teacher)[number - 1].state_dict()
        copied = layer.state_dict()
        absent = set(original) - set(copied)
        assert absent == ({"attn_norm.weight"} if (family, name, position) == ("modernbert", "even", 0) else set())
        _assert_equal(copied, {key: original[key] for key in copied})


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("family", BUILDERS)
def test_a_student_is_the_same_after_saving_and_loading(family: str, name: str, tmp_path: Path) -> None:
    """What is registered and served would not be what was measured (ModernBERT: local layers, first norm)."""
    student = init_student(still_model(family, depth=6), MAPS[name](6)).model.eval()
    student.save_pretrained(tmp_path)
    loaded, report = AutoModelForSequenceClassification.from_pretrained(
        tmp_path, attn_implementation="eager", output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert state_digest(loaded.state_dict()) == state_digest(student.state_dict())
    batch = {key: value for key, value in random_batch(width=24).items() if key != "labels"}
    with torch.inference_mode():
        ours, theirs = student(**batch, output_hidden_states=True), loaded.eval()(**batch, output_hidden_states=True)
    assert len(ours.hidden_states) == 4
    assert torch.equal(ours.logits, theirs.logits)
    assert all(map(torch.equal, ours.hidden_states, theirs.hidden_states))


def test_modernbert_keeps_the_kind_of_attention_of_each_layer() -> None:
    """A local layer that became global would run, slower and another model."""
    teacher = tiny_model("modernbert", depth=7)
    layers = (2, 4, 7)
    student = init_student(teacher, layers).model
    assert student.config.layer_types == [teacher.config.layer_types[number - 1] for number in layers]
    windows = [layer.attn.sliding_window for layer in student.model.layers]
    assert windows == [teacher.model.layers[number - 1].attn.sliding_window for number in layers]
    assert len(set(windows)) == 2


@pytest.mark.parametrize("family", BUILDERS)
def test_nothing_is_shared_with_the_teacher(family: str) -> None:
    """A shared tensor would let the student train its teacher."""
    teacher = tiny_model(family, depth=4)
    before = state_digest(teacher.state_dict())
    student = init_student(teacher, (2, 4)).model
    theirs = {tensor.data_ptr() for tensor in (*teacher.parameters(), *teacher.buffers()) if tensor.numel()}
    assert not theirs & {tensor.data_ptr() for tensor in (*student.parameters(), *student.buffers())}
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
    assert state_digest(teacher.state_dict()) == before
    assert teacher.config.num_hidden_layers == len(encoder_layers(teacher)) == 4


def test_a_teacher_that_has_run_gives_the_same_student() -> None:
    """Hooks that a forward pass leaves behind must not be copied with their old layer numbers."""
    teacher = still_model("bert", depth=6)
    batch = {key: value for key, value in random_batch().items() if key != "labels"}
    fresh = init_student(teacher, (2, 4, 6)).model.eval()
    with torch.inference_mode():
        teacher(**batch, output_hidden_states=True, output_attentions=True)
        used = init_student(teacher, (2, 4, 6)).model.eval()
        expected, found = (model(**batch, output_hidden_states=True, output_attentions=True) for model in (fresh, used))
    assert len(found.attentions) == 3
    assert all(map(torch.equal, expected.hidden_states, found.hidden_states))


def test_digests_name_every_copied_tensor() -> None:
    """The logged hashes are the proof of the copy: they must be the teacher's own."""
    teacher = tiny_model("bert", depth=4)
    student = init_student(teacher, (1, 3))
    from evenodd.encoders import tensor_digests

    original = tensor_digests(teacher.state_dict())
    assert set(student.digests) == set(student.model.state_dict())
    for key, digest in student.digests.items():
        assert digest == original[key.replace("layer.1.", "layer.2.")]


def test_shared_layers_are_refused() -> None:
    """ALBERT has one layer used twelve times: half of it is not half the work that the table would claim."""
    config = transformers.AlbertConfig(
        vocab_size=80, embedding_size=16, hidden_size=32, num_attention_heads=4, intermediate_size=64
    )
    with pytest.raises(ValueError, match="share their layers"):
        init_student(transformers.AlbertForSequenceClassification(config), (1, 3))


def test_a_map_out_of_range_is_refused() -> None:
    """Layer 0 would be the last one."""
    with pytest.raises(ValueError, match=r"numbered 1\.\.3"):
        init_student(tiny_model(), (0, 2))


def test_an_encoder_gets_a_head_for_the_labels(tiny_encoder: Path) -> None:
    """Labels in another order than the numbers would swap every prediction."""
    model, tokenizer = load_encoder(tiny_encoder, Task.single_label(("no", "perhaps", "yes")), dropout=0.3)
    assert model.config.id2label == {0: "no", 1: "perhaps", 2: "yes"}
    assert model.classifier.out_features == 3
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.3}
    assert tokenizer.is_fast
    assert tokenizer.vocab == tiny_tokenizer().vocab
    assert len(encoder_layers(model)) == 12


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_folder_is_one_line(broken: str, tiny_encoder: Path, tmp_path: Path) -> None:
    """A damaged download must be reported as such, not as a stack of library frames."""
    for path in tiny_encoder.iterdir():
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content[:20] if path.name == broken else content)
    with pytest.raises(ValueError, match=r"can(not)? be loaded") as caught:
        load_encoder(tmp_path, Task.single_label(("no", "yes")))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", BUILDERS)
def test_dropout_is_set_by_its_names_in_every_family(family: str) -> None:
    """A family whose dropout has another name would train with its default while the run records another value."""
    config = tiny_model(family).config
    set_dropout(config, 0.37)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    rates = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
    assert rates == {0.37}


def _assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        assert torch.equal(found[key], tensor), key
