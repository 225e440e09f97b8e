"""Files of `deploy/`: consistent with the service, and valid against Kubernetes' schemas where those are installed."""

from __future__ import annotations

import configparser
import json
import os
import re
import runpy
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy.engine import make_url

from serving.metrics import Instruments
from serving.settings import Settings, read_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
KUBERNETES = "1.34"
OTHER_VARIABLES = {"EVENODD_IMAGE", "EVENODD_WORKERS", "EVENODD_BENTOML_LAYERS", "EVENODD_PUBLIC_KEY"}


def documents() -> list[dict[str, Any]]:
    return [item for path in MANIFESTS for item in yaml.safe_load_all(path.read_text())]


def of_kind(kind: str) -> dict[str, Any]:
    [found] = [item for item in documents() if item["kind"] == kind]
    return found


def container() -> dict[str, Any]:
    [found] = of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(found)


def plain_environment() -> dict[str, str]:
    return {item["name"]: item["value"] for item in container()["env"] if "value" in item}


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
    assert {"cpu", "memory"} <= set(found["resources"]["limits"])
    assert found["securityContext"]["allowPrivilegeEscalation"] is False
    assert found["securityContext"]["readOnlyRootFilesystem"] is True
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["terminationGracePeriodSeconds"] > Settings().timeout
    environment = plain_environment()
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
    alerts = {rule["alert"] for rule in rules}
    assert {"ServerErrors", "AnswersLate", "LatencyHigh", "Restarts", "NotReady", "ScoresMoved"} <= alerts
    assert used <= metric_names()


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


def test_compose_holds_what_the_readme_promises() -> None:
    """Wired to each other, and everything that is mounted is there."""
    found = compose()
    assert {"service", "mlflow", "database", "prometheus", "alertmanager", "grafana"} <= set(found["services"])
    for name, service in found["services"].items():
        assert set(service["networks"]) <= set(found["networks"])
        assert set(service.get("secrets", [])) <= set(found["secrets"])
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in found["volumes"] or (DEPLOY / source).is_file(), (name, volume)
    assert found["services"]["service"]["read_only"] is True


def test_prometheus_asks_services_that_exist() -> None:
    """A target that is misspelt is away for ever, which is what an alert on it says."""
    scrapes = {
        job["job_name"]: job for job in yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())["scrape_configs"]
    }
    services = compose()["services"]
    assert scrapes["evenodd"]["static_configs"][0]["targets"] == ["service:3000"]
    for name in ("service", "blackbox", "alertmanager"):
        assert set(services["prometheus"]["networks"]) & set(services[name]["networks"])
    jobs = set(re.findall(r'job="([^"]+)"', (DEPLOY / "alerts.yaml").read_text()))
    assert jobs <= set(scrapes)


def test_public_service_is_in_no_network_of_the_tracking_server() -> None:
    """Whoever takes over the service would read every run and write every model."""
    services = compose()["services"]
    inner = {name for name, network in compose()["networks"].items() if (network or {}).get("internal")}
    assert not set(services["service"]["networks"]) & set(services["mlflow"]["networks"]) & inner
    assert "tracking" not in services["service"]["networks"]


def test_every_container_is_limited_and_can_gain_nothing() -> None:
    """One without limits takes the memory of all the others."""
    for name, service in compose()["services"].items():
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert name == "database" or service["cap_drop"] == ["ALL"], name
        assert not any(port.startswith(("0.0.0.0", "5000", "9090")) for port in service.get("ports", [])), name


def test_passwords_stand_in_no_command_line_and_may_hold_anything() -> None:
    """`ps` shows command lines to everybody, and an address takes `@` and `/` for its own."""
    text = (DEPLOY / "compose.yaml").read_text()
    assert "PASSWORD:?" not in text
    for service in compose()["services"].values():
        assert "assword" not in str(service.get("command", ""))
    server = runpy.run_path(str(DEPLOY / "tracking_server.py"))
    address = server["database"]("p@ss/wo:rd%1 ?#")
    assert make_url(address).password == "p@ss/wo:rd%1 ?#"
    parser = configparser.ConfigParser()
    parser.read_string(server["auth_settings"](address))
    assert parser["mlflow"]["database_uri"] == address


def test_network_policy_names_the_pods_and_their_port() -> None:
    """A policy that selects nothing protects nothing, and says so nowhere."""
    policy = of_kind("NetworkPolicy")["spec"]
    template = of_kind("Deployment")["spec"]["template"]
    assert policy["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert policy["ingress"][0]["ports"][0]["port"] == container()["ports"][0]["name"]
    [spread, _] = template["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


def test_ingress_ends_tls_and_keeps_metrics_inside() -> None:
    """Without a secret for the host a controller answers with a certificate of its own, or with none."""
    ingresses = [item["spec"] for item in documents() if item["kind"] == "Ingress"]
    service = of_kind("Service")
    for spec in ingresses:
        assert {rule["host"] for rule in spec["rules"]} <= {host for tls in spec["tls"] for host in tls["hosts"]}
    backends = {
        path["path"]: path["backend"]["service"]["name"]
        for spec in ingresses
        for path in spec["rules"][0]["http"]["paths"]
    }
    assert backends["/"] == service["metadata"]["name"]
    assert backends["/metrics"] != service["metadata"]["name"]


def test_scratch_is_bounded_and_enough() -> None:
    """What fills it ends the pod."""
    volumes = {one["name"]: one for one in of_kind("Deployment")["spec"]["template"]["spec"]["volumes"]}
    assert volumes["scratch"]["emptyDir"]["sizeLimit"] == "256Mi"
    assert volumes["keys"]["configMap"]["optional"] is True, "without the key a pod still starts"
    assert container()["resources"]["limits"]["ephemeral-storage"]
    assert compose()["services"]["service"]["tmpfs"] == ["/tmp:size=256m,mode=1777"]


def test_dashboard_shows_metrics_that_exist() -> None:
    """A panel on a misspelt metric is empty, and looks like peace."""
    panels = json.loads((DEPLOY / "dashboard.json").read_text())["panels"]
    used = {
        name for panel in panels for target in panel["targets"] for name in re.findall(r"evenodd_\w+", target["expr"])
    }
    assert len(panels) >= 6
    assert used <= metric_names()


def test_tracking_server_has_the_version_of_the_lock() -> None:
    """A server older than its clients refuses them."""
    pinned = re.search(r"^mlflow==(\S+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert pinned is not None
    assert f'mlflow[auth]=={pinned.group(1)}"' in (DEPLOY / "compose.yaml").read_text()


def test_only_variables_that_the_service_reads_are_set() -> None:
    """A misspelt variable is no error: the default holds."""
    known = {f"EVENODD_{field.name.upper()}" for field in fields(Settings)} | OTHER_VARIABLES
    for path in (*DEPLOY.glob("*"), *MANIFESTS):
        if path.is_file():
            assert set(re.findall(r"EVENODD_[A-Z_]+", path.read_text())) <= known, path
    environment = plain_environment()
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
