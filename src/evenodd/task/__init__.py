"""The task: its labels, its kind, the main metric and how scores become decisions."""

from evenodd.task.decision import Decision
from evenodd.task.task import REVIEW, Kind, Task, label_faults

__all__ = ["REVIEW", "Decision", "Kind", "Task", "label_faults"]
