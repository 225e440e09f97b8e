"""What MLflow shows of whole commands: few figures and settings, those of the winner on the run that a person opens."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
