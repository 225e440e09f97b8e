"""Metrics, calibration, behaviour suites, significance and the verdict."""

from evenodd.evidence.calibration import decision_metrics, fit_decision
from evenodd.evidence.floors import Floors, check_teacher, fit_floors
from evenodd.evidence.metrics import Scored, classification_metrics
from evenodd.task import Decision

__all__ = [
    "Decision",
    "Floors",
    "Scored",
    "check_teacher",
    "classification_metrics",
    "decision_metrics",
    "fit_decision",
    "fit_floors",
]
