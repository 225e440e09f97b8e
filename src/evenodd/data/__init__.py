"""Rows in: load, clean, split, tokenise; the bundled sample; digests."""

from evenodd.data.corpus import load_corpus, load_rows
from evenodd.data.encoder_files import resolve_model, source_digest
from evenodd.data.rows import Corpus, Split
from evenodd.data.tokens import TokenStore, token_store

__all__ = ["Corpus", "Split", "TokenStore", "load_corpus", "load_rows", "resolve_model", "source_digest", "token_store"]
