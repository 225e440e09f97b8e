"""Set-up of an entry point and its worker processes: log lines, quiet libraries, environment variables."""

from __future__ import annotations

import logging
import os
import sys
import warnings

ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Ray reads these on import: no colours, every line, no usage statistics.
    "RAY_COLOR_PREFIX": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # Ray's default is 15: next to any other process a fit would hardly run
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Kernels for all batch shapes of a fit: with oneDNN's default of 1,024 they are built again in every epoch.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "8192",
}


def configure_logging(*, force: bool = False) -> None:
    """Logs one line per phase to standard error; libraries from WARNING on.

    Args:
        force: replace existing handlers, which Ray sets up in its workers.
    """
    form = "%(asctime)s  %(message)s"
    logging.basicConfig(level=logging.WARNING, format=form, datefmt="%H:%M:%S", stream=sys.stderr, force=force)
    logging.getLogger("evenodd").setLevel(logging.INFO)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def prepare_worker() -> None:
    """Sets up a worker process of a command: the same log lines, and no progress bars."""
    os.environ["TQDM_DISABLE"] = "1"
    configure_logging(force=True)
    quieten_libraries()


def quieten_libraries() -> None:
    """Silences progress bars and warnings of libraries that users of an entry point cannot act on."""
    from transformers.utils import logging as transformers_logging

    warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer")
    warnings.filterwarnings("ignore", message=".*An input example was not provided")  # the signature is given
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    transformers_logging.disable_progress_bar()
