"""Many texts in a real browser: files, progress, table, download."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path
from typing import Any

import pytest
from formula_cells import ARMED, NUMBERS
from page_browser import (
    MARKS,
    Fake,
    Visit,
    info,
    paste_lines,
    results,
)

ROWS = 2_000
ROUNDING = 1e-6
FAR = 0.1
FEW = 0.05
PIECES = (
    "women", "immigrants", "hate", "vermin", "you", "soup", "they", "said", "never", '"quoted"', "a,b", "x;y", "naïve",
    "😀", "שלום", "مرحبا", "日本", "=1+1", "-5", "it's", "\ttab",
)  # fmt: skip

pytest_plugins = ("page_fixtures",)
pytestmark = MARKS


def _random_text(rng: random.Random) -> str:
    breaks = [" ", " ", " ", ", ", "\n", "\r\n", "\n\n"]
    words = [rng.choice(PIECES) + rng.choice(breaks) for _ in range(rng.randint(1, 14))]
    first = "word" if rng.random() < 0.7 else rng.choice(["=SUM(A1)", "+cmd", "@x", "-text"])
    return f"{first} {''.join(words).strip()}"


def _csv_file(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "comment", "label"])
        writer.writerows(rows)
    return path


def _classify_file(page: Any, path: Path) -> None:
    page.click("#tab-many")
    page.set_input_files("#many-file", path)
    page.click("#many-submit")
    page.locator("#many-eta", has_text="Done").wait_for(timeout=120_000)


def _download(page: Any, button: str) -> list[dict[str, str]]:
    with page.expect_download() as waiting:
        page.click(button)
    text = Path(waiting.value.path()).read_bytes().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_is_classified_filtered_and_downloaded(site: str, visit: Visit, tmp_path: Path) -> None:
    """Rows shifted by a quoted line break, decisions of a neighbour, a filter that hides rows from nobody."""
    rng = random.Random()
    rows = [[str(number), _random_text(rng), rng.choice(["a", "b"])] for number in range(ROWS)]
    page = visit(site)
    _classify_file(page, _csv_file(tmp_path / "rows.csv", rows))
    assert page.locator("#many-count").inner_text() == "2,000 of 2,000 texts"
    got = _download(page, "#download-all")
    assert [line["id"] for line in got] == [row[0] for row in rows]
    assert [line["comment"] in (row[1], "'" + row[1]) for row, line in zip(rows, got, strict=True)] == [True] * ROWS
    _check_results(got, results(site, [row[1] for row in rows]), info(site))
    _check_filter(page, [line["evenodd_decision"] for line in got])


def _check_results(got: list[dict[str, str]], wanted: list[dict[str, Any]], model: dict[str, Any]) -> None:
    """Each line carries its own text's result.

    A dynamic int8 graph scales by the batch, so its scores depend on the texts sent along: there, few lines may be far
    off (rows moved by one put more than half of them far off), and in `checked` decisions agree all the same. Any other
    graph must agree to the last digits.
    """
    scores = [float(line["evenodd_score"]) for line in got]
    apart = [abs(score - result["score"]) for score, result in zip(scores, wanted, strict=True)]
    graph = model["runtime"]["graph"]
    if graph in ("int8", "checked") and max(apart) > ROUNDING:
        assert sum(distance > FAR for distance in apart) <= FEW * len(apart)
    else:
        assert max(apart) <= ROUNDING
    for line, score, result in zip(got, scores, wanted, strict=True):
        assert graph == "int8" or line["evenodd_decision"] == result["decision"]
        assert line["evenodd_decision"] == _decide(score, model)
        assert line["evenodd_label"] == ("hate" if score > 0.5 else "noHate")


def _decide(score: float, model: dict[str, Any]) -> str:
    """The policy of the bundle contract, once more."""
    low, high = model["decision"]["review"] or (0.0, 0.0)
    if low <= score < high:
        return "review"
    return "hate" if score >= model["decision"]["threshold"] else "noHate"


def _check_filter(page: Any, decisions: list[str]) -> None:
    """Summary, filter and the download of what is shown agree with the decisions."""
    for decision in ("hate", "noHate"):
        number = decisions.count(decision)
        assert page.locator(f".sum[data-decision={decision}] .sum-number").inner_text() == f"{number:,}"
        page.locator(f"input[name=many-filter][value={decision}]").check()
        shown = set(page.locator(".results tbody .chip").evaluate_all("chips => chips.map(c => c.dataset.decision)"))
        assert shown <= {decision}
        if 0 < number < len(decisions):
            assert [line["evenodd_decision"] for line in _download(page, "#download-shown")] == [decision] * number


def test_scores_sort_both_ways(site: str, visit: Visit) -> None:
    """An order by the words on the screen, where 9 % comes after 10 %."""
    texts = ["I hate women", "nice soup", "Immigrants are vermin", "never said", "hate hate hate women women", "ok"]
    page = visit(site)
    paste_lines(page, [*texts, "", ""])
    scores = dict(zip(texts, [result["score"] for result in results(site, texts)], strict=True))
    for direction, sign in (("descending", -1), ("ascending", 1)):
        page.get_by_role("button", name="Score").click()
        assert page.locator("th.col-score").get_attribute("aria-sort") == direction
        shown = page.locator(".results td.col-text").all_inner_texts()
        assert shown == sorted(texts, key=lambda text: sign * scores[text])


def test_formula_cells_are_disarmed(fake: Fake, visit: Visit, tmp_path: Path) -> None:
    """A downloaded file that runs a stranger's formula in a spreadsheet, or numbers spoilt by the cure."""
    armed = [text for text in ARMED if "\x00" not in text]
    rows = [["=id", text, "plain"] for text in armed] + [[number, "text", number] for number in NUMBERS]
    page = visit(fake()[1])
    _classify_file(page, _csv_file(tmp_path / "rows.csv", rows))
    got = _download(page, "#download-all")
    assert [line["comment"] for line in got[: len(armed)]] == ["'" + text for text in armed]
    assert {line["id"] for line in got[: len(armed)]} == {"'=id"}
    assert [line["id"] for line in got[len(armed) :]] == list(NUMBERS)


def test_one_refused_row_does_not_stop_the_others(fake: Fake, visit: Visit) -> None:
    """One bad text in a thousand, and the whole chunk or the whole file is lost."""
    service, address = fake()
    texts = [f"text {number}" for number in range(300)]
    texts[137] = "rings \x07 a bell"
    page = visit(address)
    paste_lines(page, texts)
    got = _download(page, "#download-all")
    assert [bool(line["evenodd_error"]) for line in got] == [number == 137 for number in range(300)]
    assert got[136]["evenodd_decision"] == service.result(texts[136], "odd")["decision"]
    assert max(service.chunks) <= 256


def test_cancel_keeps_what_is_done_and_go_on_does_the_rest(fake: Fake, visit: Visit) -> None:
    """Cancelled work that starts over, or rows classified twice."""
    service, address = fake()
    page = visit(address)
    held: list[Any] = []
    page.route("**/classify", lambda route: held.append(route) if len(service.chunks) >= 3 else route.continue_())
    page.click("#tab-many")
    page.fill("#many-text", "\n".join(f"text {number}" for number in range(600)))
    page.click("#many-submit")
    page.wait_for_function("() => document.querySelector('#many-bar').value > 0")
    page.click("#many-cancel")
    page.locator("#many-eta", has_text="Stopped at").wait_for()
    done = sum(service.chunks)
    assert 0 < done < 600
    page.unroute("**/classify")
    page.click("#many-resume")
    page.locator("#many-eta", has_text="Done").wait_for()
    assert page.locator("#many-count").inner_text() == "600 of 600 texts"
    assert sum(service.chunks) <= 600 + 2 * 256


def test_variants_can_be_compared_over_a_file(fake: Fake, visit: Visit, tmp_path: Path) -> None:
    """Columns of one variant under the name of another."""
    service, address = fake(variants=("odd", "even", "lora"))
    texts = ["I hate women", "nice soup", "hate vermin", "sick gays"]
    rows = [[str(number), text, "x"] for number, text in enumerate(texts)]
    page = visit(address)
    page.click("#tab-many")
    page.select_option("#many-variant", "")
    _classify_file(page, _csv_file(tmp_path / "rows.csv", rows))
    got = _download(page, "#download-all")
    for variant in service.variants:
        expected = [service.result(row[1], variant)["decision"] for row in rows]
        assert [line[f"evenodd_{variant}_decision"] for line in got] == expected
    differ = [len({line[f"evenodd_{variant}_decision"] for variant in service.variants}) > 1 for line in got]
    page.locator("input[name=many-filter][value=disagree]").check()
    assert page.locator(".results tbody tr").count() == sum(differ)
    assert any(differ)


def test_row_opens_in_the_other_view(site: str, visit: Visit) -> None:
    """A doubtful row that has to be copied by hand to see why."""
    page = visit(site)
    paste_lines(page, ["nice soup", "I hate women"])
    page.get_by_role("button", name="Details of row 2").click()
    page.wait_for_selector("#panel-one .word-lists")
    assert page.input_value("#one-text") == "I hate women"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_is_read_as_python_reads_it(fake: Fake, visit: Visit, delimiter: str) -> None:
    """A parser that is right on the examples its author thought of."""
    rng = random.Random()
    page = visit(fake()[1])
    for ending in ("\n", "\r\n"):
        rows = [[_random_text(rng) for _ in range(3)] for _ in range(100)]
        file = io.StringIO(newline="")
        csv.writer(file, delimiter=delimiter, lineterminator=ending).writerows(rows)
        parse = "([text, delimiter]) => import('/csv.js').then(csv => csv.parse(text, delimiter))"
        read = page.evaluate(parse, [file.getvalue(), delimiter])
        assert read == list(csv.reader(io.StringIO(file.getvalue(), newline=""), delimiter=delimiter))
        written = page.evaluate("rows => import('/csv.js').then(csv => csv.write(rows))", rows)
        back = list(csv.reader(io.StringIO(written.removeprefix("\ufeff"), newline="")))
        assert [[cell.removeprefix("'") for cell in row] for row in back] == rows


def test_text_column_is_found(fake: Fake, visit: Visit) -> None:
    """The author's name is classified instead of what the author wrote."""
    page = visit(fake()[1])
    guess = """rows => import('/csv.js').then(csv => {
        const header = csv.guessHeader(rows);
        return [header, csv.guessTextColumn(rows, header)];
    })"""
    long = "a sentence of some length, as people write it"
    assert page.evaluate(guess, [["id", "Text", "notes"], ["1", "hi", long]]) == [True, 1]
    assert page.evaluate(guess, [["user", "remark"], ["x", long], ["y", long]]) == [True, 1]
    assert page.evaluate(guess, [["7", long], ["8", long]]) == [False, 1]
