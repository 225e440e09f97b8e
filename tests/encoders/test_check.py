"""An unsuitable encoder is refused before a fit, with advice; a ready classifier's outputs keep their meaning."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from release_models import tiny_model, tiny_tokenizer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from evenodd.encoders import load_encoder
from evenodd.encoders.check import check_encoder, position_limit
from evenodd.task import Task

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def classifier(folder: Path, labels: tuple[str, ...], problem_type: str | None = None) -> BertForSequenceClassification:
    """A ready classifier on disk whose output bias identifies its labels."""
    torch.manual_seed(0)
    names = dict(enumerate(labels))
    config = BertConfig(
        vocab_size=len(tiny_tokenizer()), num_labels=len(labels), id2label=names, problem_type=problem_type, **SIZES
    )
    config.label2id = {name: number for number, name in names.items()}
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.bias.copy_(torch.arange(1.0, len(labels) + 1))
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return model


def deberta() -> DebertaV2ForSequenceClassification:
    """With relative positions, as the published DeBERTa-v3 models have them."""
    rows = len(tiny_tokenizer())
    config = DebertaV2Config(vocab_size=rows, position_biased_input=False, relative_attention=True, **SIZES)
    return DebertaV2ForSequenceClassification(config)


def test_a_sound_encoder_passes(tiny_encoder: Path) -> None:
    """A check that refuses what works would stop everyone."""
    check_encoder(tiny_encoder, 64)


def test_tokens_beyond_the_embeddings_are_named(tmp_path: Path) -> None:
    """The index error comes from deep inside torch, an hour later on a GPU, and names nothing."""
    tiny_model("bert", depth=2).save_pretrained(tmp_path)
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<user>", "<url>"])
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"<url>, <user>.*resize_token_embeddings") as caught:
        check_encoder(tmp_path, 64)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_length_beyond_the_positions_says_how_many_there_are(tmp_path: Path, family: str) -> None:
    """RoBERTa's table has two rows more than it has positions: a length in between fails on the first long text."""
    rows = len(tiny_tokenizer())
    if family == "bert":
        BertForSequenceClassification(
            BertConfig(vocab_size=rows, max_position_embeddings=128, **SIZES)
        ).save_pretrained(tmp_path)
    else:
        config = RobertaConfig(vocab_size=rows, max_position_embeddings=130, pad_token_id=1, **SIZES)
        RobertaForSequenceClassification(config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    check_encoder(tmp_path, 128)
    with pytest.raises(ValueError, match=r"max_length=129, but it has 128 positions: pass -P data\.max_length=128"):
        check_encoder(tmp_path, 129)


def test_positions_that_are_not_looked_up_set_no_limit() -> None:
    """DeBERTa and ModernBERT count distances: a limit taken from their configuration would refuse long texts."""
    assert position_limit(tiny_model("modernbert", depth=2)) is None
    assert position_limit(deberta()) is None


def test_a_tokenizer_without_padding_is_refused(tmp_path: Path, tiny_encoder: Path) -> None:
    """Batches could not be made."""
    shutil.copytree(tiny_encoder, tmp_path, dirs_exist_ok=True)
    about = json.loads((tmp_path / "tokenizer_config.json").read_text())
    about["pad_token"] = None
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(about))
    (tmp_path / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"no padding token: set tokenizer\.pad_token"):
        check_encoder(tmp_path, 64)


@pytest.mark.parametrize(("content", "said"), [
    (None, "there is no tokenizer in it"), (b"{}", "cannot be loaded"), (b"none", "cannot be loaded"),
    (b'{"version": "1.0", "added_tokens": [], "model": {"type": "none"}}', "cannot be loaded"),
])  # fmt: skip
def test_a_tokenizer_that_is_absent_or_broken_is_one_line(
    tmp_path: Path, tiny_encoder: Path, content: bytes | None, said: str
) -> None:
    """transformers makes an empty tokenizer where there is none: every text would be a row of unknown tokens."""
    shutil.copytree(tiny_encoder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tokenizer.json").unlink()
    if content is None:
        (tmp_path / "tokenizer_config.json").unlink()
    else:
        (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        check_encoder(tmp_path, 64)
    assert "\n" not in str(caught.value)


def test_a_sentencepiece_model_alone_says_what_to_install(tmp_path: Path) -> None:
    """transformers asks for tiktoken instead, which does not help."""
    deberta().save_pretrained(tmp_path)
    (tmp_path / "spm.model").write_bytes(b"\x0a\x0e\x0a\x05<unk>\x15\x00\x00\x00\x00\x18\x02")
    with pytest.raises(ValueError, match=r"only a spm\.model, which needs: pip install sentencepiece"):
        check_encoder(tmp_path, 64)


def test_outputs_of_a_ready_classifier_are_put_in_the_order_of_the_task(tmp_path: Path) -> None:
    """Its first output means `Spam`; read as `ham`, every fit would start with all answers inverted."""
    saved = classifier(tmp_path, ("Spam", "ham"), "multi_label_classification")
    model, _ = load_encoder(tmp_path, Task.single_label(("ham", "spam")))
    assert torch.equal(model.classifier.weight, saved.classifier.weight[[1, 0]])
    assert model.classifier.bias.tolist() == [2.0, 1.0]
    assert model.config.id2label == {0: "ham", 1: "spam"}
    assert model.config.problem_type == "single_label_classification"


def test_a_head_for_other_labels_is_drawn_anew(tmp_path: Path) -> None:
    """The answers of another task are no start for this one, and which they were depends on the file."""
    classifier(tmp_path, ("joy", "anger"))
    model, _ = load_encoder(tmp_path, Task.single_label(("ham", "spam")))
    assert model.classifier.bias.tolist() == [0.0, 0.0]


def test_a_head_whose_labels_have_no_names_is_kept(tmp_path: Path) -> None:
    """A classifier saved without names has its labels in the order of its numbers, as far as anyone can tell."""
    classifier(tmp_path, ("LABEL_0", "LABEL_1"))
    model, _ = load_encoder(tmp_path, Task.single_label(("ham", "spam")))
    assert model.classifier.bias.tolist() == [1.0, 2.0]
