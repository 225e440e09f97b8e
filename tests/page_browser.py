"""Chromium, a stand-in for the service or a served bundle, and pages that report what must never happen."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from page_server import FakeService, serve

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
LOOKS = {
    "light": {"color_scheme": "light", "viewport": DESKTOP},
    "dark": {"color_scheme": "dark", "viewport": DESKTOP},
    "phone": {"color_scheme": "light", "viewport": PHONE},
    "phone-dark": {"color_scheme": "dark", "viewport": PHONE},
}
MARKS = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is absent: apt-get install chromium"),
]
TELL_POLICY = "addEventListener('securitypolicyviolation', e => console.error('policy ' + e.violatedDirective))"

Visit = Callable[..., Any]
Fake = Callable[..., tuple[FakeService, str]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium under Playwright."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(params=["stand-in", "served"])
def site(request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of the page, without a slash at the end."""
    if request.param == "stand-in":
        with serve(FakeService()) as address:
            yield address
        return
    address = os.environ.get("EVENODD_URL", "").rstrip("/")
    if not address:
        pytest.skip("EVENODD_URL names no running service")
    yield address


@pytest.fixture
def fake() -> Iterator[Fake]:
    """Starts stand-ins with settings of their own."""
    opened = []

    def start(**settings: Any) -> tuple[FakeService, str]:
        service = FakeService(**settings)
        opened.append(serve(service))
        return service, opened[-1].__enter__()

    yield start
    for context in opened:
        context.__exit__(None, None, None)


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    """Opens pages. At the end of a test: no script failed, the policy refused nothing, no request left the origin."""
    contexts, faults = [], []

    def open_page(address: str, **look: Any) -> Any:
        context = browser.new_context(reduced_motion="reduce", accept_downloads=True, **(look or LOOKS["light"]))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: faults.append(f"script: {error}"))
        page.on("console", lambda line: faults.append(line.text) if _is_policy(line.text) else None)
        page.on("request", lambda sent: None if _is_ours(sent.url, address) else faults.append(f"left: {sent.url}"))
        page.add_init_script(TELL_POLICY)
        page.goto(address + "/")
        page.wait_for_selector(".empty")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not faults


def _is_policy(line: str) -> bool:
    return line.startswith("policy ") or "Content Security Policy" in line


def _is_ours(url: str, address: str) -> bool:
    return url.startswith((address + "/", f"blob:{address}/"))


def post(address: str, path: str, body: dict[str, Any]) -> Any:
    """Ask the service past the page."""
    request = urllib.request.Request(address + path, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def info(address: str) -> dict[str, Any]:
    """What the default model says of itself."""
    with urllib.request.urlopen(address + "/info", timeout=30) as answer:
        return dict(json.load(answer)["model"])


def results(address: str, texts: list[str]) -> list[dict[str, Any]]:
    """Results of texts, asked past the page."""
    chunks = [texts[start : start + 200] for start in range(0, len(texts), 200)]
    return [result for chunk in chunks for result in post(address, "/classify", {"texts": chunk})["results"]]


def ask(page: Any, text: str) -> None:
    """Type a text and send it by keyboard."""
    page.fill("#one-text", text)
    page.press("#one-text", "Control+Enter")


def paste_lines(page: Any, lines: list[str]) -> None:
    """Classify lines in the second view; returns when all are done."""
    page.click("#tab-many")
    page.fill("#many-text", "\n".join(lines))
    page.press("#many-text", "Control+Enter")
    page.locator("#many-eta", has_text="Done").wait_for()


def focused(page: Any) -> str:
    """Id, or else class, of the element that has the focus."""
    return str(page.evaluate("document.activeElement.id || document.activeElement.className"))


def tab_to(page: Any, wanted: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if focused(page) == wanted:
            return
    raise AssertionError(f"Tab never reached {wanted}")


def percent(score: float) -> str:
    """A probability as the page writes it."""
    if 0.999 < score < 1:
        return ">99.9%"
    return "<0.1%" if 0 < score < 0.001 else f"{score * 100:.1f}%"
