"""Losses, batches, cached teacher targets and the trainer."""

from evenodd.training.average import mix_weights
from evenodd.training.ceiling import ceiling_figures, operations_per_token, training_flops
from evenodd.training.fit import fit
from evenodd.training.history import AfterEachStep
from evenodd.training.inputs import Fit, FitContext, FitData
from evenodd.training.losses import label_weights
from evenodd.training.objective import DistillObjective, LabelObjective, needs_live_teacher
from evenodd.training.precision import best_device, choose_precision
from evenodd.training.predict import predict_logits
from evenodd.training.ranks import follow, join_in, leading, rank_and_world
from evenodd.training.targets import JoinedTargets, TeacherTargets, target_megabytes, teacher_targets

__all__ = [
    "AfterEachStep",
    "DistillObjective",
    "Fit",
    "FitContext",
    "FitData",
    "JoinedTargets",
    "LabelObjective",
    "TeacherTargets",
    "best_device",
    "ceiling_figures",
    "choose_precision",
    "fit",
    "follow",
    "join_in",
    "label_weights",
    "leading",
    "mix_weights",
    "needs_live_teacher",
    "operations_per_token",
    "predict_logits",
    "rank_and_world",
    "target_megabytes",
    "teacher_targets",
    "training_flops",
]
