"""Builds the project's own behaviour suite in HateCheck's columns: `python -m evenodd.evidence.suites.build [FILE]`."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from evenodd.rows.templates import sentence
from evenodd.rows.words import Words, read_words

SUITE_PATH = Path(__file__).with_name("evenodd.csv")
GROUPS_PER_TEMPLATE = 3
_MARK = re.compile(r"\*([^*|]+)(?:\|([^*]+))?\*")
_LEET = str.maketrans(
    {"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "A": "4", "E": "3", "I": "1", "O": "0", "S": "5"}
)


@dataclass(frozen=True)
class Case:
    """One row of the suite; the field names are HateCheck's columns, in its order."""

    functionality: str
    case_id: int
    test_case: str
    label_gold: str
    target_ident: str
    direction: str
    focus_words: str
    focus_lemma: str
    ref_case_id: str
    ref_templ_id: str
    templ_id: int
    case_templ: str


def suite_words() -> Words:
    """The wording of the suite: `hateful`, `not_hateful`, `without_group` and `misspelt` by functionality."""
    return read_words("evenodd.evidence.suites", "wording")


def suite_groups() -> tuple[tuple[str, str], ...]:
    """The groups in the suite, in the plural and as one member with the article."""
    return tuple((plural, single) for plural, (single,) in suite_words()["groups"].items())


def build_cases() -> list[Case]:
    """All cases of the suite. Case and template numbers start at 1 and change only with the wording."""
    cases: list[Case] = []
    templates: dict[str, int] = {}
    for functionality, template, group in _plain_cases():
        number = templates.setdefault(template, len(templates) + 1)
        cases.append(_plain_case(functionality, template, group, (len(cases) + 1, number)))
    plain = list(cases)
    for functionality, sources in suite_words()["misspelt"].items():
        for place, source in enumerate(_sources(plain, sources)):
            key = f"{functionality}: {source.case_templ}"
            number = templates.setdefault(key, len(templates) + 1)
            cases.append(_misspelt_case(functionality, source, place, (len(cases) + 1, number)))
    return cases


def suite_text() -> str:
    """The suite as the text of a CSV file."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(Case.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(case) for case in build_cases())
    return buffer.getvalue()


def _plain_cases() -> Iterator[tuple[str, str, tuple[str, str] | None]]:
    """Functionality, template and group; each group occurs equally often in a functionality that names groups."""
    words, groups = suite_words(), suite_groups()
    for functionality, templates in (words["hateful"] | words["not_hateful"]).items():
        for place, template in enumerate(templates):
            for step in range(GROUPS_PER_TEMPLATE):
                yield functionality, template, groups[(place + step * len(groups) // GROUPS_PER_TEMPLATE) % len(groups)]
    for functionality, templates in words["without_group"].items():
        for template in templates:
            yield functionality, template, None


def _plain_case(functionality: str, template: str, group: tuple[str, str] | None, numbers: tuple[int, int]) -> Case:
    marks = _MARK.findall(template)
    bare = _MARK.sub(r"\1", template)
    plural, single = group or ("", "")
    directed = "directed" if functionality == "member_directed_h" else "general"
    return Case(
        functionality=functionality,
        case_id=numbers[0],
        test_case=_capitalise(bare.replace("{g}", plural).replace("{s}", single)),
        label_gold="hateful" if functionality.endswith("_h") else "non-hateful",
        target_ident=plural,
        direction=directed if group else "-",
        focus_words=", ".join(word for word, _ in marks) or "-",
        focus_lemma=", ".join(lemma or word for word, lemma in marks) or "-",
        ref_case_id="",
        ref_templ_id="",
        templ_id=numbers[1],
        case_templ=bare.replace("{g}", "[GROUP_P]").replace("{s}", "[GROUP_S]"),
    )


def _capitalise(text: str) -> str:
    """Capitalises a sentence, also inside of a quotation at its start."""
    text = sentence(text)
    return text[:1] + text[1:2].upper() + text[2:] if text.startswith('"') else text


def _sources(cases: list[Case], functionalities: tuple[str, ...]) -> Iterator[Case]:
    """One case per template of each functionality, taking the groups in turn."""
    for turn, functionality in enumerate(functionalities):
        of_kind = [case for case in cases if case.functionality == functionality]
        yield from of_kind[turn::GROUPS_PER_TEMPLATE]


def _misspelt_case(functionality: str, source: Case, place: int, numbers: tuple[int, int]) -> Case:
    """A case with its marked words misspelt; in every second case, or if none are marked, also its group."""
    misspell = _MISSPELLINGS[functionality] if functionality in _MISSPELLINGS else _ANY[place % len(_ANY)]
    words = [] if source.focus_words == "-" else source.focus_words.split(", ")
    if not words or place % 2:
        words.append(_group_words(source))
    text = source.test_case
    for word in words:
        text = misspell(text, word)
    values = asdict(source) | {"functionality": functionality, "case_id": numbers[0], "test_case": text}
    values |= {"ref_case_id": str(source.case_id), "ref_templ_id": str(source.templ_id), "templ_id": numbers[1]}
    return Case(**values)


def _group_words(case: Case) -> str:
    """The group as written in the case: plural, singular, or capitalised plural."""
    single = dict(suite_groups())[case.target_ident]
    forms = (case.target_ident, _capitalise(case.target_ident), single, _capitalise(single))
    found = [form for form in forms if form in case.test_case]
    return max(found[0].split(" "), key=len)


def _replace_word(text: str, word: str, new: str) -> str:
    return re.sub(rf"\b{re.escape(word)}\b", lambda _: new, text, count=1)


def _swap(text: str, word: str) -> str:
    at = max(1, len(word) // 2)
    return _replace_word(text, word, word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :])


def _drop(text: str, word: str) -> str:
    at = max(1, len(word) // 2)
    return _replace_word(text, word, word[:at] + word[at + 1 :])


def _join(text: str, word: str) -> str:
    """Removes the space after the word, or before it if none follows."""
    joined = re.sub(rf"\b{re.escape(word)} ", lambda _: word, text, count=1)
    return joined if joined != text else re.sub(rf" {re.escape(word)}\b", lambda _: word, text, count=1)


def _space(text: str, word: str) -> str:
    return _replace_word(text, word, " ".join(word.replace(" ", "")))


def _leet(text: str, word: str) -> str:
    return _replace_word(text, word, word.translate(_LEET))


_MISSPELLINGS: Mapping[str, Callable[[str, str], str]] = {
    "spell_swap_h": _swap,
    "spell_drop_h": _drop,
    "spell_joined_h": _join,
    "spell_spaced_h": _space,
    "spell_leet_h": _leet,
}
_ANY = tuple(_MISSPELLINGS.values())


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else SUITE_PATH).write_text(suite_text(), encoding="utf-8")
