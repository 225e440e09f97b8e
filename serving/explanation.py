"""Explanations by leaving out parts of a text, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evenodd.classifier.text import Word, find_words, leave_out

from .admission import TooLargeError

LEAST_RUNS = 3
CHARS_PER_TOKEN = 16
SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？")


class Explanation:
    """The parts of a text: its words, or sentences or passages if words exceed the budget.

    Args:
        text: to explain.
        budget: maximal tokens of all runs together.

    Attributes:
        by: `word`, `sentence` or `passage`.
        parts: in the order of the text; empty before `follow` is called.
    """

    def __init__(self, text: str, budget: int) -> None:
        self.text = text
        self.by = "word"
        self.parts: list[Word] = []
        self._budget = budget

    def follow(self, tokens: int) -> list[str]:
        """The text without each part, one by one.

        Args:
            tokens: of the whole text.

        Raises:
            TooLargeError: even leaving out halves of the text exceeds the budget.
        """
        cost = max(tokens, len(self.text) // CHARS_PER_TOKEN, 1)
        runs = self._budget // cost
        if runs < LEAST_RUNS:
            most = self._budget // LEAST_RUNS
            raise TooLargeError(f"too long to explain: about {cost} tokens; the limit is {most}")
        words = find_words(self.text)
        self.by, self.parts = self._divide(words, runs - 1)
        return leave_out(self.text, self.parts)

    def _divide(self, words: list[Word], most: int) -> tuple[str, list[Word]]:
        if len(words) <= most:
            return "word", words
        sentences = [self._join(group) for group in _sentences(words)]
        if len(sentences) <= most:
            return ("sentence" if len(sentences) > 1 else "passage"), self._at_least_two(sentences, words, most)
        return "passage", [self._join(group) for group in _even(words, most)]

    def _at_least_two(self, sentences: list[Word], words: list[Word], most: int) -> list[Word]:
        """A single sentence is split into passages, because leaving it out explains nothing."""
        return sentences if len(sentences) > 1 else [self._join(group) for group in _even(words, most)]

    def _join(self, words: Sequence[Word]) -> Word:
        start, end = words[0].start, words[-1].end
        return Word(self.text[start:end], start, end)


def _sentences(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    first = 0
    for i, word in enumerate(words):
        if word.word.rstrip("\"'”’)]»").endswith(SENTENCE_ENDS) or i == len(words) - 1:
            yield words[first : i + 1]
            first = i + 1


def _even(words: Sequence[Word], count: int) -> Iterator[Sequence[Word]]:
    """Groups of similar size."""
    for i in range(count):
        yield words[len(words) * i // count : len(words) * (i + 1) // count]
