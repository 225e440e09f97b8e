"""Tiny classifiers of every encoder family, from configs alone, and a tokenizer for them."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast

VOCABULARY = "i you we they hate love like people group some no not never the a to of and are is was good bad day rain"
WORDS = VOCABULARY.split()
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.4,
}
TEXTS = (
    "i hate rain",
    "they are good people and we like them",
    "no",
    "",
    "12 34 567",
    "👍 👍🏽",
    "a very bad day, never mind: " * 12,
    "we love you",
)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """WordPiece over a few words, letters and digits; [CLS] and [SEP] around, truncation and padding switched on."""
    letters = [chr(code) for code in (*range(97, 123), *range(48, 58))]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *(x for x in letters if x not in WORDS)]
    vocabulary += [f"##{letter}" for letter in letters] + list(".,!?':")
    core = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    core.enable_truncation(12)
    core.enable_padding(length=12)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def tiny_model(family: str = "bert", *, labels: int = 2, seed: int = 0, depth: int = 3) -> PreTrainedModel:
    """A few layers of random weights, spread wide enough that texts differ in label."""
    torch.manual_seed(seed)
    sizes = SIZES | {"vocab_size": len(tiny_tokenizer()), "num_labels": labels, "max_position_embeddings": 72}
    sizes["num_hidden_layers"] = depth
    model: PreTrainedModel = BUILDERS[family](sizes)
    return model.eval()


def _bert(sizes: dict[str, Any]) -> PreTrainedModel:
    return transformers.BertForSequenceClassification(transformers.BertConfig(**sizes))


def _roberta(sizes: dict[str, Any]) -> PreTrainedModel:
    return transformers.RobertaForSequenceClassification(
        transformers.RobertaConfig(**sizes, pad_token_id=0, type_vocab_size=1)
    )


def _distilbert(sizes: dict[str, Any]) -> PreTrainedModel:
    own = {"dim": 32, "n_layers": sizes["num_hidden_layers"], "n_heads": 4, "hidden_dim": 64}
    shared = {
        name: sizes[name] for name in ("vocab_size", "num_labels", "max_position_embeddings", "initializer_range")
    }
    return transformers.DistilBertForSequenceClassification(transformers.DistilBertConfig(**own, **shared))


def _electra(sizes: dict[str, Any]) -> PreTrainedModel:
    return transformers.ElectraForSequenceClassification(transformers.ElectraConfig(**sizes, embedding_size=16))


def _mpnet(sizes: dict[str, Any]) -> PreTrainedModel:
    return transformers.MPNetForSequenceClassification(transformers.MPNetConfig(**sizes, pad_token_id=0))


def _modernbert(sizes: dict[str, Any]) -> PreTrainedModel:
    own = {"local_attention": 8, "pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3}
    own |= {"bos_token_id": 2, "eos_token_id": 3}
    return transformers.ModernBertForSequenceClassification(transformers.ModernBertConfig(**sizes, **own))


def _deberta_v3(sizes: dict[str, Any]) -> PreTrainedModel:
    own = {"relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True}
    own |= {"pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "type_vocab_size": 0}
    return transformers.DebertaV2ForSequenceClassification(transformers.DebertaV2Config(**sizes, **own))


BUILDERS = {
    "bert": _bert,
    "roberta": _roberta,
    "distilbert": _distilbert,
    "electra": _electra,
    "mpnet": _mpnet,
    "modernbert": _modernbert,
    "deberta-v3": _deberta_v3,
}
FULLY_FUSED = ("bert", "roberta", "distilbert", "electra")
