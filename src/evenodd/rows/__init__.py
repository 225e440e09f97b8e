"""Rows in: load, clean, split, tokenise; the bundled sample; digests."""

from evenodd.rows.corpus import load_corpus, load_rows
from evenodd.rows.rows import Corpus, Split
from evenodd.rows.texts import ALL, Rejected, Texts, read_records, read_texts
from evenodd.rows.tokens import TokenStore, token_store

__all__ = [
    "ALL",
    "Corpus",
    "Rejected",
    "Split",
    "Texts",
    "TokenStore",
    "load_corpus",
    "load_rows",
    "read_records",
    "read_texts",
    "token_store",
]
