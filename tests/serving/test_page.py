"""The page in a real browser, one text: against a stand-in, and against a served bundle.

Batches are in test_page_batch.py.
"""

from __future__ import annotations

from typing import Any

import pytest
from page_browser import (
    LOOKS,
    MARKS,
    Fake,
    Visit,
    ask,
    focused,
    info,
    percent,
    post,
    results,
    tab_to,
)

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)
pytest_plugins = ("page_fixtures",)
pytestmark = MARKS


# One text


def test_keyboard_alone_gets_an_answer(site: str, visit: Visit) -> None:
    """A mouse is needed somewhere on the way, or the answer is not said aloud."""
    page = visit(site)
    page.keyboard.press("Tab")
    assert focused(page) == "skip"
    page.keyboard.press("Enter")
    assert focused(page) == "main"
    tab_to(page, "one-text")
    page.keyboard.type("I hate women")
    page.keyboard.press("Control+Enter")
    result = results(site, ["I hate women"])[0]
    expect(page.locator("#decision")).to_have_attribute("data-decision", result["decision"])
    expect(page.locator("#live")).to_contain_text("Decision: ")
    assert page.locator("#score").inner_text() == percent(result["score"])


def test_views_follow_the_arrow_keys(site: str, visit: Visit) -> None:
    """Tabs that only a click can change, or a panel left visible beside another."""
    page = visit(site)
    tab_to(page, "tab-one")
    moves = {"ArrowRight": "many", "End": "model", "ArrowLeft": "many", "Home": "one"}
    for key, view in moves.items():
        page.keyboard.press(key)
        assert focused(page) == f"tab-{view}"
        shown = page.eval_on_selector_all("[role=tabpanel]", "panels => panels.filter(p => !p.hidden).map(p => p.id)")
        assert shown == [f"panel-{view}"]
        assert page.locator("[role=tab][aria-selected=true]").get_attribute("id") == f"tab-{view}"


def test_example_is_classified_and_held_against_people(site: str, visit: Visit) -> None:
    """An example that fills the field without an answer, or a mistake of the model that is passed over."""
    page = visit(site)
    page.get_by_role("button", name="I hate you").click()
    result = results(site, ["I hate you"])[0]
    expect(page.locator("#decision")).to_have_attribute("data-decision", result["decision"])
    assert page.input_value("#one-text") == "I hate you"
    agrees = "true" if result["decision"] == "noHate" else "false"
    assert page.locator(".expectation").get_attribute("data-agrees") == agrees


def test_words_are_marked_where_they_stand(site: str, visit: Visit) -> None:
    """Offsets counted in UTF-16 units instead of characters move every mark behind an emoji."""
    text = "😀👍🏽 They said: immigrants are vermin, 😀 I hate them\nשלום vermin"
    page = visit(site)
    ask(page, text)
    page.wait_for_selector(".word-lists")
    words = post(site, "/explain", {"text": text})["words"]
    strong = [word["word"] for word in words if abs(word["weight"]) >= 0.01]
    assert page.locator(".words .word").all_inner_texts() == strong
    assert page.locator(".words").evaluate("node => node.textContent") == text
    first = max(words, key=lambda word: word["weight"])
    assert page.locator(".word-list .word").first.inner_text() == first["word"]


def test_needle_threshold_and_band_stand_at_their_values(site: str, visit: Visit) -> None:
    """A scale that is drawn well and wrong."""
    page = visit(site)
    ask(page, "Immigrants are vermin")
    page.wait_for_selector(".scale .needle")
    decision = info(site)["decision"]
    track = page.locator(".scale .track").bounding_box()
    where = {}
    for name in ("cut", "needle", "zone.is-review"):
        for box in [place.bounding_box() for place in page.locator(f".scale .{name}").all()]:
            where[name] = (box["x"] - track["x"], box["width"])
    score = results(site, ["Immigrants are vermin"])[0]["score"]
    middle = min(max(score * track["width"], 10.4), track["width"] - 10.4)
    assert where["needle"][0] + where["needle"][1] / 2 == pytest.approx(middle, abs=1)
    assert where["cut"][0] + 1 == pytest.approx(decision["threshold"] * track["width"], abs=1)
    low, high = decision["review"]
    if high > low:
        assert where["zone.is-review"] == pytest.approx((low * track["width"], (high - low) * track["width"]), abs=1)


def test_variants_stand_beside_each_other(fake: Fake, visit: Visit) -> None:
    """The same variant asked three times, or the details of one beneath the name of another."""
    service, address = fake(variants=("odd", "even", "lora"))
    page = visit(address)
    ask(page, "I hate women")
    page.wait_for_selector(".variants")
    for variant in service.variants:
        result = service.result("I hate women", variant)
        row = page.locator(f".variant[data-variant={variant}]")
        assert row.locator(".number").inner_text() == percent(result["score"])
        row.locator("input").check()
        expect(page.locator("#score")).to_have_text(percent(result["score"]))
        assert page.locator("#decision").get_attribute("data-decision") == result["decision"]
    assert page.get_by_text("The variants do not agree.").is_visible()


def test_many_labels_have_bars_and_no_threshold(fake: Fake, visit: Visit) -> None:
    """A task of four labels squeezed onto the scale of two."""
    service, address = fake(labels=("complaint", "praise", "question", "spam"))
    page = visit(address)
    ask(page, "Where is my parcel?")
    page.wait_for_selector(".label-bars")
    shares = service.result("Where is my parcel?", "odd")["probabilities"]
    expected = sorted(shares, key=lambda label: -shares[label])
    assert page.locator(".label-bar dt").all_inner_texts() == expected
    assert page.locator(".scale").count() == 0
    assert page.locator("#examples").is_hidden()


def test_the_page_speaks_of_the_task_that_the_bundle_names(fake: Fake, visit: Visit) -> None:
    """A support desk's model that asks whether a text attacks a group of people."""
    words = {
        "question": "What is this customer writing about?",
        "definition": "Praise only counts when nothing is asked for.",
        "labels": {"spam": {"name": "Advertisement", "meaning": "Nobody needs to answer."}},
        "examples": [{"title": "From last week", "rows": [{"text": "BUY!", "label": "spam", "kind": "a shop"}]}],
    }
    _, address = fake(labels=("complaint", "praise", "question", "spam"), words=words)
    page = visit(address)
    page.get_by_role("button", name="BUY!").click()
    page.wait_for_selector(".label-bars")
    assert page.locator("#question").inner_text() == words["question"]
    assert page.locator("#definition").inner_text() == words["definition"]
    assert page.locator(".label-bar dt", has_text="Advertisement").count() == 1
    assert "People labelled this “Advertisement” (a shop)." in page.locator(".expectation").inner_text()


def test_correction_is_stored_once(fake: Fake, visit: Visit) -> None:
    """A correction that thanks and stores nothing, or the model's label instead of the person's."""
    service, address = fake()
    page = visit(address)
    ask(page, "I hate women")
    page.get_by_text("This is wrong").click()
    page.get_by_role("radio", name="Not hate").check()
    page.fill("#correct-note", "quoted from a film")
    page.get_by_role("button", name="Store correction").click()
    page.wait_for_selector(".stored")
    given = {"text": "I hate women", "label": "noHate", "comment": "quoted from a film", "variant": "odd"}
    assert service.stored == [given]


def test_no_correction_is_offered_where_none_is_kept(fake: Fake, visit: Visit) -> None:
    """People fill in a form that the service refuses."""
    page = visit(fake(corrections=False)[1])
    ask(page, "I hate women")
    page.wait_for_selector(".word-lists")
    assert page.get_by_text("This is wrong").count() == 0


def test_markup_in_a_text_stays_text(site: str, visit: Visit) -> None:
    """A pasted text that becomes part of the page."""
    text = '<img src="x" onerror="document.title=1"><b>I hate women</b>'
    page = visit(site)
    ask(page, text)
    page.wait_for_selector(".word-lists")
    assert page.locator(".words").evaluate("node => node.textContent") == text
    assert page.locator(".words b, .words img").count() == 0


def test_synthetic_data_is_said_at_the_top_and_in_the_panel(fake: Fake, visit: Visit) -> None:
    """Figures of made-up texts that look like real ones."""
    made_up, real = visit(fake(synthetic=True)[1]), visit(fake(synthetic=False)[1])
    assert made_up.locator("#serving .badge").inner_text() == "Synthetic data"
    assert made_up.locator("#panel-model .badge").count() == 1
    assert real.locator(".badge").count() == 0


# Faults


def test_busy_service_is_asked_again(site: str, visit: Visit) -> None:
    """One 429 and the user's text is lost, or a storm of retries without a pause."""
    page = visit(site)
    asked: list[str] = []

    def busy_twice(route: Any) -> None:
        asked.append(route.request.url)
        if len(asked) <= 2:
            route.fulfill(status=429, headers={"retry-after": "0.2"}, json={"error": "busy"})
        else:
            route.continue_()

    page.route("**/classify", busy_twice)
    ask(page, "I hate women")
    expect(page.locator("#answer-body")).to_contain_text("The service is busy")
    page.wait_for_selector("#decision")
    assert len(asked) >= 3


def test_refused_text_is_explained_at_the_field(site: str, visit: Visit) -> None:
    """A 400 shown as a failure of the service, away from what has to be changed."""
    page = visit(site)
    refusal = {"error": "texts[0] is odd", "field": "texts[0]"}
    page.route("**/classify", lambda route: route.fulfill(status=400, json=refusal))
    ask(page, "some text")
    expect(page.locator("#one-error")).to_have_text("texts[0] is odd")
    assert page.get_attribute("#one-text", "aria-invalid") == "true"
    assert "one-error" in page.get_attribute("#one-text", "aria-describedby").split()
    assert focused(page) == "one-text"
    page.fill("#one-text", "another")
    assert page.locator("#one-error").is_hidden()
    assert page.get_attribute("#one-text", "aria-invalid") is None


def test_empty_and_oversized_texts_are_not_sent(fake: Fake, visit: Visit) -> None:
    """A request for what the page could have said itself."""
    service, address = fake()
    page = visit(address)
    too_long = "20,001 characters; the limit is 20,000."
    for text, fault in (("   ", "Type or paste a text first."), ("x" * 20_001, too_long)):
        ask(page, text)
        expect(page.locator("#one-error")).to_have_text(fault)
    assert service.chunks == []


def test_unreachable_service_offers_another_try(site: str, visit: Visit) -> None:
    """A dead end after a lost connection."""
    page = visit(site)
    page.route("**/classify", lambda route: route.abort())
    ask(page, "I hate women")
    expect(page.locator("#answer-body")).to_contain_text("The service cannot be reached.")
    page.unroute("**/classify")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector("#decision")


def test_page_waits_for_a_service_that_starts_later(site: str, visit: Visit) -> None:
    """A page opened too early stays dead until it is reloaded."""
    page = visit(site)
    page.route("**/info", lambda route: route.abort())
    page.reload()
    expect(page.locator("#banner")).to_contain_text("The service cannot be reached.")
    page.unroute("**/info")
    page.get_by_role("button", name="Try now").click()
    page.wait_for_selector(".empty")
    assert page.locator("#banner").is_hidden()


# Everybody


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_serious(fake: Fake, visit: Visit, look: str) -> None:
    """Contrast, names, roles or focus that shut somebody out, in either colour scheme or on a phone."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(fake(variants=("odd", "even", "lora"))[1], **LOOKS[look])
    found: list[str] = []

    def check(state: str) -> None:
        for rule in axe.run(page).response["violations"]:
            if rule["impact"] in ("serious", "critical"):
                found.extend(f"{state}: {rule['id']}: {node['html'][:120]}" for node in rule["nodes"])

    check("empty")
    ask(page, "Immigrants are vermin, I hate them")
    page.get_by_text("This is wrong").click()
    page.wait_for_selector(".word-lists")
    check("result")
    ask(page, "  ")
    check("fault")
    page.get_by_role("tab", name="Many texts").click()
    rows = b"id,text\n1,I hate women\n2,soup\n3,\n4,hate sick\n"
    page.set_input_files("#many-file", {"name": "a.csv", "mimeType": "text/csv", "buffer": rows})
    page.click("#many-submit")
    page.locator("#many-eta", has_text="Done").wait_for()
    check("batch")
    page.get_by_role("tab", name="The model").click()
    check("model")
    assert not found


def test_phone_needs_no_sideways_scrolling(fake: Fake, visit: Visit) -> None:
    """A page wider than the screen of a small phone."""
    page = visit(fake(variants=("odd", "even", "lora"))[1], **LOOKS["phone"])
    ask(page, "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen" * 3 + " vermin")
    page.wait_for_selector(".word-lists")
    page.click("#tab-many")
    rows = b"id,text\n" + b"".join(
        b"%d,%s hate women\n" % (number, b"a long line of words " * 9) for number in range(3)
    )
    page.set_input_files("#many-file", {"name": "a.csv", "mimeType": "text/csv", "buffer": rows})
    page.click("#many-submit")
    page.locator("#many-eta", has_text="Done").wait_for()
    for view in ("one", "many", "model"):
        page.click(f"#tab-{view}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
