"""Chromium, a stand-in for the service and a served bundle, and pages that report what must never happen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import serving_process
from page_browser import CHROMIUM, LOOKS, Fake, Visit
from page_server import FakeService, serve
from serving_bundle import shared_bundle

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TELL_POLICY = "addEventListener('securitypolicyviolation', e => console.error('policy ' + e.violatedDirective))"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium under Playwright."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def served_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real service over a tiny bundle, one for all tests; EVENODD_URL names another one to test."""
    if address := os.environ.get("EVENODD_URL", "").rstrip("/"):
        yield address
        return
    log_file = tmp_path_factory.mktemp("page") / "log"
    environ = {"EVENODD_BUNDLE": str(shared_bundle("checked")), "EVENODD_WORKERS": "1"}
    with serving_process.serve(serving_process.ROOT, log_file, **environ) as running:
        running.wait_ready()
        yield running.url


@pytest.fixture(params=["stand-in", "served"])
def site(request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of the page, without a slash at the end."""
    if request.param == "served":
        yield request.getfixturevalue("served_site")
        return
    with serve(FakeService()) as address:
        yield address


@pytest.fixture
def fake() -> Iterator[Fake]:
    """Starts stand-ins with their own settings."""
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
