"""MLflow: runs, metrics, models and the registry. The only package here that imports mlflow."""

from mlflow.exceptions import MlflowException as TrackingError

from evenodd.tracking.contents import (
    active_run_id,
    describe,
    flush,
    log_dataset,
    log_figures,
    log_file,
    log_json,
    log_metrics,
    log_settings,
    log_table,
    log_text,
    set_tags,
)
from evenodd.tracking.experiments import configure, connect, connection, experiment_name
from evenodd.tracking.files import sound_files
from evenodd.tracking.leases import Lease, LeaseLostError, lease
from evenodd.tracking.models import (
    ModelEntry,
    copy_classifier,
    load_model,
    log_bundle,
    log_model,
    model_metadata,
)
from evenodd.tracking.reading import (
    DONE_TAG,
    artifact_json,
    artifact_text,
    check_artifacts,
    download,
    figures_of,
    find_runs,
    get_run,
    settings_of,
    tracking_uri,
)
from evenodd.tracking.registry import (
    Version,
    aliases,
    drop_half_registered,
    find_version,
    names_with,
    register,
    set_alias,
    tag_version,
)
from evenodd.tracking.runs import close_interrupted, start_run
from evenodd.tracking.store import StoreUnreachableError

__all__ = [
    "DONE_TAG",
    "Lease",
    "LeaseLostError",
    "ModelEntry",
    "StoreUnreachableError",
    "TrackingError",
    "Version",
    "active_run_id",
    "aliases",
    "artifact_json",
    "artifact_text",
    "check_artifacts",
    "close_interrupted",
    "configure",
    "connect",
    "connection",
    "copy_classifier",
    "describe",
    "download",
    "drop_half_registered",
    "experiment_name",
    "figures_of",
    "find_runs",
    "find_version",
    "flush",
    "get_run",
    "lease",
    "load_model",
    "log_bundle",
    "log_dataset",
    "log_figures",
    "log_file",
    "log_json",
    "log_metrics",
    "log_model",
    "log_settings",
    "log_table",
    "log_text",
    "model_metadata",
    "names_with",
    "register",
    "set_alias",
    "set_tags",
    "settings_of",
    "sound_files",
    "start_run",
    "tag_version",
    "tracking_uri",
]
