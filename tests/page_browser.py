"""What the tests of the page share: looks, questions asked past the page, and how to drive it by keyboard."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_server import FakeService

CHROMIUM = Path("/usr/bin/chromium")
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
Visit = Callable[..., Any]
Fake = Callable[..., tuple[FakeService, str]]


def post(address: str, path: str, body: dict[str, Any]) -> Any:
    """Ask the service past the page."""
    request = urllib.request.Request(address + path, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def info(address: str) -> dict[str, Any]:
    """Description of the default model."""
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
