"""Takes the pictures of README and the guides from a real run: `make pictures`. Needs Debian's chromium.

The chain runs on the bundled sample in a folder of its own (argument 1, else a temporary one; finished fits there are
reused) with the settings of the other arguments (`data.limit=600 epochs=2` for a slow machine). Then the page, the
report and MLflow's UI are opened in headless Chromium, as wide as a desktop and as narrow as a phone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import Run
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.processes import running

ROOT = Path(__file__).resolve().parents[1]
PICTURES = Path(__file__).with_name("pictures")
CHROMIUM = "/usr/bin/chromium"
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
WINDOWS = {"": DESKTOP, "-phone": PHONE}
"""Sizes in CSS pixels, by the end of a picture's name."""
FOR_MLFLOW = 8000
"""Milliseconds that MLflow takes to draw a page: nothing in the page shows when it is done."""
MODEL = "sample"
TRAINING = "workflowType=machine_learning"
CLOSE = "[data-component-id='mlflow.assistant.chat_panel.close']"
"""MLflow's assistant covers a quarter of the page."""
HEIGHTS = {"compare": 2000}
"""Of pages whose tables are below the first screen, in pixels."""
COMPARED = ("teacher", "odd", "even", "lora")


def main() -> None:
    """Runs the chain and writes the pictures."""
    place, *settings = sys.argv[1:] or [tempfile.mkdtemp(prefix="evenodd-pictures-")]
    folder = Path(place).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    PICTURES.mkdir(exist_ok=True)
    environ = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "HF_HUB_OFFLINE": "1"}
    environ |= {"BENTOML_HOME": str(folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "true", "BENTOML_HOST": "127.0.0.1"}
    environ["PYTHONPATH"] = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    subprocess.run([sys.executable, "-m", "pipelines", "main", *settings], cwd=folder, env=environ, check=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        picture_report(browser, folder)
        picture_service(browser, folder, environ)
        picture_mlflow(browser, folder, environ)
        browser.close()


def picture_report(browser: Browser, folder: Path) -> None:
    """The first screen of the newest report."""
    report = max(folder.glob(".evenodd/reports/*/report.html"), key=lambda path: path.stat().st_mtime)
    for end, window in WINDOWS.items():
        page = browser.new_page(viewport=window)
        page.goto(report.as_uri())
        _save(page, f"report{end}")


def picture_service(browser: Browser, folder: Path, environ: dict[str, str]) -> None:
    """The page with an answer."""
    command = [sys.executable, "-m", "pipelines", "serve"]
    log = folder / "serve.log"
    environ = {**environ, "BENTOML_PORT": "{port}"}
    with running(command, ready="/readyz", folder=folder, environ=environ, log=log) as (port, _):
        for end, window in WINDOWS.items():
            page = browser.new_page(viewport=window)
            page.goto(f"http://127.0.0.1:{port}/")
            page.fill("#one-text", "I never said that immigrants are lazy, and nobody should.")
            page.press("#one-text", "Control+Enter")
            page.wait_for_load_state("networkidle")
            _save(page, f"page{end}")


def picture_mlflow(browser: Browser, folder: Path, environ: dict[str, str]) -> None:
    """The list of runs, the compared variants, the run of the chain, and the registered model."""
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", "{port}"]
    with running(command, ready="/health", folder=folder, environ=environ, log=folder / "mlflow.log") as (port, _):
        address = f"http://127.0.0.1:{port}"
        for name, route in _routes(environ["MLFLOW_TRACKING_URI"]).items():
            for end, window in WINDOWS.items():
                page = browser.new_page(viewport=window | {"height": HEIGHTS.get(name, window["height"])})
                page.goto(f"{address}/#/{route}")
                page.wait_for_timeout(FOR_MLFLOW)
                for button in page.locator(CLOSE).all():
                    button.click()
                page.wait_for_timeout(FOR_MLFLOW / 4)
                _save(page, f"mlflow-{name}{end}")


def _routes(store: str) -> dict[str, str]:
    """Pages of MLflow's UI by name."""
    client = MlflowClient(store)
    (main_run, *_), experiment = _newest(client, "tags.stage = 'main'")
    fitted = _newest(client, "tags.model_uri != ''")[0]
    variants = {run.data.tags["variant"]: run.info.run_id for run in reversed(fitted)}
    chosen = [variants[name] for name in COMPARED if name in variants]
    return {
        "experiment": f"experiments/{experiment}/runs?{TRAINING}",
        "compare": f"compare-runs?runs={quote(json.dumps(chosen))}&experiments={quote(json.dumps([experiment]))}",
        "charts": f"experiments/{experiment}/runs?{TRAINING}&compareRunsMode=CHART",
        "run": f"experiments/{experiment}/runs/{main_run.info.run_id}?{TRAINING}",
        "model": f"models/{MODEL}?{TRAINING}",
    }


def _newest(client: MlflowClient, condition: str) -> tuple[list[Run], str]:
    """The runs of the chain's experiment under a condition, newest first, and the experiment's id."""
    experiment = client.get_experiment_by_name(MODEL).experiment_id
    return list(client.search_runs([experiment], condition, order_by=["attributes.start_time DESC"])), experiment


def _save(page: Page, name: str) -> None:
    page.screenshot(path=PICTURES / f"{name}.png")
    page.close()
    print(PICTURES / f"{name}.png")


if __name__ == "__main__":
    main()
