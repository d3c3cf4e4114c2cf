"""Measures how good and how robust an encoder's features are."""

from solo_adv.encoders.classifier import Classifier, frozen, predict, require_eval
from solo_adv.evaluation.aggregation import AggregatingEncoder, CropStacks, FixedCrops, crop_spec
from solo_adv.evaluation.attacks.autoattack import evaluate_autoattack
from solo_adv.evaluation.attacks.bench import Bench
from solo_adv.evaluation.attacks.judging import CleanAccuracy, clean_accuracy, evaluate_pgd
from solo_adv.evaluation.heads.features import extract
from solo_adv.evaluation.heads.finetune import FinetuneRecipe, finetune_adversarially
from solo_adv.evaluation.heads.knn import knn_accuracy
from solo_adv.evaluation.heads.linear import HeadRecipe, train_head, train_head_on_features
from solo_adv.evaluation.images import batches, select
from solo_adv.evaluation.robust import Outcome, evaluate_robustness
from solo_adv.evaluation.settings import RobustSettings
from solo_adv.evaluation.trust.alarms import all_alarms
from solo_adv.evaluation.trust.probes import Probes, probe
from solo_adv.support.hits import accuracy

__all__ = [
    "AggregatingEncoder",
    "Bench",
    "Classifier",
    "CleanAccuracy",
    "CropStacks",
    "FinetuneRecipe",
    "FixedCrops",
    "HeadRecipe",
    "Outcome",
    "Probes",
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
