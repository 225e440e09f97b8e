"""Files of `deploy/`: consistent with the service, and valid against Kubernetes' schemas where those are installed."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.metrics import Instruments
from serving.settings import Settings, read_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
KUBERNETES = "1.34"
OTHER_VARIABLES = {"EVENODD_IMAGE", "EVENODD_WORKERS", "EVENODD_BENTOML_LAYERS"}


def documents() -> list[dict[str, Any]]:
    return [item for path in MANIFESTS for item in yaml.safe_load_all(path.read_text())]


def of_kind(kind: str) -> dict[str, Any]:
    [found] = [item for item in documents() if item["kind"] == kind]
    return found


def container() -> dict[str, Any]:
    [found] = of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(found)


def metric_names() -> set[str]:
    """Every name that `/metrics` can show of ours."""
    families = [family for family in vars(Instruments.get()).values() if hasattr(family, "describe")]
    names = set()
    for family in families:
        [described] = family.describe()
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}[described.type]
        names |= {described.name + ending for ending in endings}
    return names


@pytest.mark.parametrize("item", documents(), ids=lambda item: item["kind"])
def test_manifest_is_valid_against_the_schema(item: dict[str, Any]) -> None:
    """A misspelt field is dropped by some clusters without a word."""
    validator = pytest.importorskip("kubernetes_validate")
    assert validator.validate(item, KUBERNETES, strict=True)
    with pytest.raises(validator.ValidationError):
        validator.validate({**item, "spce": {}}, KUBERNETES, strict=True)


def test_selectors_find_the_pods() -> None:
    """A service whose selector matches nothing has an address and no answers."""
    template = of_kind("Deployment")["spec"]["template"]
    labels = template["metadata"]["labels"]
    for selector in (
        of_kind("Deployment")["spec"]["selector"]["matchLabels"],
        of_kind("Service")["spec"]["selector"],
        of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    assert (
        of_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"]
        == of_kind("Deployment")["metadata"]["name"]
    )


def test_pod_is_probed_limited_and_unprivileged() -> None:
    """Each of these is a default that nobody wants and nobody notices."""
    found = container()
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert found[probe]["httpGet"]["path"] in ("/readyz", "/livez", "/healthz")
        assert found[probe]["httpGet"]["port"] in [port["name"] for port in found["ports"]]
    assert set(found["resources"]["limits"]) == {"cpu", "memory"}
    assert found["securityContext"]["allowPrivilegeEscalation"] is False
    assert found["securityContext"]["readOnlyRootFilesystem"] is True
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["terminationGracePeriodSeconds"] > Settings().timeout
    environment = {item["name"]: item["value"] for item in found["env"]}
    assert environment["EVENODD_WORKERS"] == found["resources"]["limits"]["cpu"]


def test_replicas_follow_the_queue_wait() -> None:
    """Scaling on a metric that nobody serves never scales."""
    [metric] = of_kind("HorizontalPodAutoscaler")["spec"]["metrics"]
    rule = yaml.safe_load(of_kind("ConfigMap")["data"]["config.yaml"])["rules"][0]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    used = set(re.findall(r"evenodd_\w+", rule["seriesQuery"] + rule["metricsQuery"]))
    assert used == {"evenodd_queue_wait_seconds_sum", "evenodd_queue_wait_seconds_count"}
    assert used <= metric_names()


def test_alerts_use_metrics_that_exist() -> None:
    """An alert on a misspelt metric is silent for ever."""
    rules = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"][0]["rules"]
    used = {name for rule in rules for name in re.findall(r"evenodd_\w+", rule["expr"])}
    assert len(used) >= 3
    assert used <= metric_names()


def test_compose_holds_service_tracking_database_and_metrics() -> None:
    """The four that the README promises, wired to each other."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert set(compose["services"]) == {"service", "mlflow", "database", "prometheus"}
    scrape = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())["scrape_configs"][0]
    assert scrape["static_configs"][0]["targets"] == ["service:3000"]
    assert compose["services"]["service"]["read_only"] is True
    assert "@database/mlflow" in compose["services"]["mlflow"]["command"]
    for name, service in compose["services"].items():
        assert set(service["networks"]) <= set(compose["networks"])
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (DEPLOY / source).is_file(), (name, volume)


def test_tracking_server_has_the_version_of_the_lock() -> None:
    """A server older than its clients refuses them."""
    pinned = re.search(r"^mlflow==(\S+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert pinned is not None
    assert f"mlflow=={pinned.group(1)} " in (DEPLOY / "compose.yaml").read_text()


def test_only_variables_that_the_service_reads_are_set() -> None:
    """A misspelt variable is no error: the default holds."""
    known = {f"EVENODD_{field.name.upper()}" for field in fields(Settings)} | OTHER_VARIABLES
    for path in (*DEPLOY.glob("*"), *MANIFESTS):
        if path.is_file():
            assert set(re.findall(r"EVENODD_[A-Z_]+", path.read_text())) <= known, path
    environment = {item["name"]: item["value"] for item in container()["env"]}
    assert read_settings(environment).provider == "cpu"


def test_image_is_unprivileged_small_and_watched() -> None:
    """BentoML's own file brings them: a compiler, git, and a service that runs as root."""
    text = (DEPLOY / "Dockerfile").read_text()
    final = text.rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER 10001", final, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*readyz", final.replace("\\\n", ""), re.MULTILINE)
    assert "--only-binary=:all:" in text
    assert not re.search(r"build-essential|gcc|\btorch\b|transformers|apt-get", text)


def test_image_script_says_when_nothing_can_build() -> None:
    """A script that goes on without a builder ends with a message about something else."""
    run = subprocess.run(
        ["sh", str(DEPLOY / "image.sh")],
        env={**os.environ, "BUILDER": "no-builder"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "no builder works here" in run.stderr
    wrong = subprocess.run(["sh", str(DEPLOY / "image.sh"), "x", "tpu"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
