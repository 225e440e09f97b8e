"""The review queue and the warnings of the page, in a real browser."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from page_browser import LOOKS, MARKS, Fake, Visit, ask

from evenodd.rows import load_corpus
from evenodd.settings import DataSettings

pytest_plugins = ("page_fixtures",)
pytestmark = MARKS
TEXTS = ["nice soup", "I hate women", "hate vermin you", "sick immigrants said they", "never said", "kill women now"]


def _queue(page: Any, tmp_path: Path, texts: list[str] = TEXTS) -> None:
    """A file with other columns is classified, and its queue opened."""
    path = tmp_path / "posts.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "text", "author"], *([n, t, f"author {n}"] for n, t in enumerate(texts))])
    page.click("#tab-many")
    page.set_input_files("#many-file", path)
    page.click("#many-submit")
    page.click("#review-open")


def _shown(page: Any) -> list[str]:
    return [text.strip() for text in page.locator(".queue-text > p").all_inner_texts()]


def _taken(page: Any) -> list[dict[str, str]]:
    with page.expect_download() as waiting:
        page.click("#review-export")
    text = Path(waiting.value.path()).read_bytes().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_doubtful_texts_come_first(fake: Fake, visit: Visit, tmp_path: Path) -> None:
    """A person's minutes are worth most where the model knows least."""
    service, address = fake()
    page = visit(address)
    _queue(page, tmp_path)
    distance = {text: abs(service.result(text, "odd")["score"] - 0.45) for text in TEXTS}
    assert _shown(page) == sorted(TEXTS, key=distance.__getitem__)


def test_other_columns_stand_beside_the_text(fake: Fake, visit: Visit, tmp_path: Path) -> None:
    """Who wrote it, and where, often decides."""
    page = visit(fake()[1])
    _queue(page, tmp_path)
    number = TEXTS.index(_shown(page)[0])
    facts = page.locator("[aria-current] .facts").inner_text()
    assert f"author {number}" in facts
    assert "text" not in page.locator("[aria-current] .facts dt").all_inner_texts()


def test_decisions_by_key_become_training_rows(fake: Fake, visit: Visit, tmp_path: Path) -> None:
    """Keys that decide another row than the one on the screen would poison the next model."""
    page = visit(fake()[1])
    _queue(page, tmp_path)
    order = _shown(page)
    page.keyboard.press("1")
    page.keyboard.press("2")
    page.keyboard.press("2")
    page.keyboard.press("u")
    page.keyboard.press("j")
    page.keyboard.press("1")
    assert _taken(page) == [
        {"text": order[0], "label": "hate"},
        {"text": order[1], "label": "noHate"},
        {"text": order[3], "label": "hate"},
    ]


def test_selected_texts_are_decided_together(fake: Fake, visit: Visit, tmp_path: Path) -> None:
    """The same mistake often comes in dozens."""
    page = visit(fake()[1])
    _queue(page, tmp_path)
    order = _shown(page)
    page.keyboard.press("x")
    page.locator(".queue-check").nth(2).check()
    page.click("[data-label=noHate]")
    assert [(row["text"], row["label"]) for row in _taken(page)] == [(order[0], "noHate"), (order[2], "noHate")]


def test_training_rows_are_read_by_data(fake: Fake, visit: Visit, tmp_path: Path) -> None:
    """What the page hands out has to be what `data=` takes."""
    page = visit(fake()[1])
    _queue(page, tmp_path, [f"{text} {number}" for number in range(20) for text in TEXTS])
    for number in range(120):
        page.keyboard.press(str(1 + number % 2))
    rows = _taken(page)
    path = tmp_path / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"])
        writer.writeheader()
        writer.writerows(rows)
    corpus = load_corpus(DataSettings(source=str(path)), seed=0, cache=tmp_path)
    assert sum(map(len, (corpus.train.texts, corpus.validation.texts, corpus.test.texts))) == len(rows) == 120


@pytest.mark.parametrize("look", ["light", "phone-dark"])
def test_queue_fits_the_screen(fake: Fake, visit: Visit, tmp_path: Path, look: str) -> None:
    """A queue that is pushed aside cannot be worked on."""
    page = visit(fake()[1], **LOOKS[look])
    _queue(page, tmp_path)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("[aria-current]").bounding_box()["y"] < LOOKS[look]["viewport"]["height"]


def test_a_model_that_fails_its_gates_says_so(fake: Fake, visit: Visit) -> None:
    """`main` also exports what may not ship, so that it can be tried out."""
    page = visit(fake(warnings=("Macro-F1 .61 does not exceed the floor, .64.", "No behaviour suite."))[1])
    banner = page.locator("#banner")
    assert "does not exceed the floor" in banner.inner_text()
    assert "1 more" in banner.inner_text()
    banner.locator("button").click()
    assert "No behaviour suite." in page.locator("#panel-model").inner_text()


def test_a_model_without_a_warning_shows_no_banner(fake: Fake, visit: Visit) -> None:
    """A banner that is always there is not read."""
    page = visit(fake()[1])
    assert page.locator("#banner").is_hidden()


@pytest.mark.parametrize(("cancelled", "kind"), [(True, "cancelled"), (False, "server")])
def test_an_answer_that_breaks_off_is_an_error_of_the_page(
    fake: Fake, visit: Visit, cancelled: bool, kind: str
) -> None:
    """Cancelled while its body was read, a request ended as an error of the script that nobody saw."""
    page = visit(fake()[1])
    found = page.evaluate(
        """async (cancelled) => {
            const { request } = await import("/api.js");
            const control = new AbortController();
            const broken = () => { if (cancelled) control.abort(); throw new DOMException("cut", "AbortError"); };
            window.fetch = async () => ({ ok: true, json: async () => broken() });
            try { await request("info", { signal: control.signal }); return "answered"; }
            catch (error) { return error.kind; }
        }""",
        cancelled,
    )
    assert found == kind


def test_an_error_takes_the_old_answer_away(fake: Fake, visit: Visit) -> None:
    """An answer beside another text would be taken for that text's."""
    page = visit(fake()[1])
    ask(page, "I hate women")
    page.locator("#reading").wait_for()
    ask(page, "   ")
    assert page.locator("#reading").count() == 0
    assert page.locator("#one-error").is_visible()
