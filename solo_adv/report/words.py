"""Describes what was judged, and how, in words for titles, tables and cards."""

from collections.abc import Mapping
from typing import Any

from solo_adv.adversaries import NORMS

LOSS_WORDS = {
    "cross_entropy": "the cross-entropy",
    "margin": "the margin between logits",
    "both": "the cross-entropy, then on the margin between logits",
}
"""What PGD ascends, by the setting ``attack_loss``."""


def head_words(config: Mapping[str, Any]) -> str:
    """Describe the classifier, for a title."""
    tuned = ", adversarially fine-tuned" if config["finetune"] == "adversarial" else ""
    crops = f", {config['num_crops']} crops" if config["protocol"] == "crops" else ""
    return f"{config['linear']} linear head{crops}{tuned}"


def data_words(data: Mapping[str, Any]) -> str:
    """Name the data of a report, for a title, with the part of the labels if it was not all."""
    few = labels_words(data)
    return f"{data['name']}, {few}" if few else str(data["name"])


def labels_words(data: Mapping[str, Any]) -> str:
    """Say which part of the labels was used, such as ``1% of the labels``; empty if all were."""
    drawn = data.get("labels")
    if drawn is None:
        return ""
    seed = f" (seed {drawn['seed']})" if drawn["seed"] else ""
    part = str(drawn["part"])
    if part.endswith("%"):
        return f"{part} of the labels{seed}"
    return f"{part.partition('_')[0]} labels a class{seed}"


def drawn_words(data: Mapping[str, Any]) -> str:
    """Say how many train images were drawn of each class, and by which seed; empty if all were."""
    drawn = data.get("labels")
    if drawn is None:
        return ""
    counts = sorted(drawn["per_class"])
    each = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    return (
        f"{drawn['part']} of the labels: {each} of each of {len(counts)} classes, drawn with "
        f"labels_seed={drawn['seed']}"
    )


def threat_model(config: Mapping[str, Any]) -> str:
    """Describe what the adversary knows and may do."""
    norm = NORMS[config["norm"]]
    perturbed = norm.words("the image")
    if config["protocol"] == "crops" and config["space"] == "crop":
        perturbed = norm.words(f"each of the {config['num_crops']} resized crops")
        perturbed += ", each crop separately (no change of the image can do that)"
    elif config["protocol"] == "crops":
        perturbed += f", from which the {config['num_crops']} crops are then cut"
    return (
        f"white-box, end to end through encoder and {config['linear']} head, {norm.name}: the "
        f"adversary knows all weights{_and_crops(config)} and changes {perturbed}"
    )


def _and_crops(config: Mapping[str, Any]) -> str:
    return " and the crops" if config["protocol"] == "crops" else ""


def training_words(config: Mapping[str, Any]) -> str:
    """Describe what distinguishes a training run, in a few words."""
    crops, adversary = config.get("crops") or {}, config.get("adversary") or {}
    teacher = config.get("teacher") or {}
    scale = crops.get("scale") or [0, 1]
    words = []
    if (config.get("backbone") or {}).get("name", "resnet18") != "resnet18":
        words.append(config["backbone"]["name"])
    if "num_crops" in crops:
        patches = scale[0] == scale[1] and not crops.get("pad")  # weak crops are of padded images
        one, many = ("patch", "patches") if patches else ("crop", "crops")
        words.append(f"{crops['num_crops']} {one if crops['num_crops'] == 1 else many}")
    if "replays" in adversary:
        words.append(f"m={adversary['replays']}")
    elif "stay_in_ball" in adversary:
        name = "RS-FGSM" if adversary["stay_in_ball"] else "N-FGSM"
        words.append(name if adversary["steps"] == 1 else f"{name}, {adversary['steps']} steps")
    elif "steps" in adversary:
        words.append(f"PGD-{adversary['steps']}")
    if adversary.get("norm", "linf") != "linf":
        words.append(NORMS[adversary["norm"]].name)
    if teacher.get("checkpoint"):
        words.append("bank" if teacher.get("kind") == "bank" else "teacher")
    if "max_epochs" in config:
        words.append(f"{config['max_epochs']} epochs")
    if (config.get("max_steps") or -1) > 0:
        words.append(f"at most {config['max_steps']:,} updates")
    if config.get("preset"):
        words.append(f"preset {config['preset']}")
    return ", ".join(words)


def letter_of(number: int) -> str:
    """The letters that stand for a number from 0: A to Z, then AA, AB and so on."""
    return (chr(ord("A") + number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)
