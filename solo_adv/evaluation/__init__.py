"""Evaluation: how good and how robust an encoder's features are."""

from solo_adv.evaluation.aggregation import AggregatingEncoder, CropStacks, FixedCrops, crop_spec
from solo_adv.evaluation.alarms import all_alarms
from solo_adv.evaluation.attacks import (
    AttackResult,
    CleanAccuracy,
    clean_accuracy,
    evaluate_pgd,
)
from solo_adv.evaluation.autoattack import evaluate_autoattack
from solo_adv.evaluation.classifier import Classifier, frozen, predict, require_eval
from solo_adv.evaluation.features import extract
from solo_adv.evaluation.finetune import FinetuneRecipe, finetune_adversarially
from solo_adv.evaluation.images import batches, select
from solo_adv.evaluation.knn import knn_accuracy
from solo_adv.evaluation.linear import HeadRecipe, accuracy, train_head, train_head_on_features
from solo_adv.evaluation.probes import Probes, probe
from solo_adv.evaluation.report import Report
from solo_adv.evaluation.robust import evaluate_robustness
from solo_adv.evaluation.settings import RobustSettings

__all__ = [
    "AggregatingEncoder",
    "AttackResult",
    "Classifier",
    "CleanAccuracy",
    "CropStacks",
    "FinetuneRecipe",
    "FixedCrops",
    "HeadRecipe",
    "Probes",
    "Report",
    "RobustSettings",
    "accuracy",
    "all_alarms",
    "batches",
    "clean_accuracy",
    "crop_spec",
    "evaluate_autoattack",
    "evaluate_pgd",
    "evaluate_robustness",
    "extract",
    "finetune_adversarially",
    "frozen",
    "knn_accuracy",
    "predict",
    "probe",
    "require_eval",
    "select",
    "train_head",
    "train_head_on_features",
]
