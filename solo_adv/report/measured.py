"""Says in words how a report was measured, for its pages."""

from collections.abc import Mapping
from typing import Any

from solo_adv.adversaries import Ball
from solo_adv.data.transfer import transfer_words
from solo_adv.report.record import Report
from solo_adv.report.words import LOSS_WORDS, drawn_words, threat_model


def as_measured(report: Report) -> dict[str, str]:
    """How a report was measured: by what attacks, with what head, on what data and code.

    Returns:
        A text for each heading, such as ``Threat model``.
    """
    config, data = report.config, report.data
    head = config["head"]
    start = "random" if config["random_start"] else "zero"
    ascended = LOSS_WORDS[config.get("attack_loss", "cross_entropy")]  # older reports lack it
    attack = (
        f"PGD on {ascended}, {config['steps']} steps of {config['step_size']:g}, {start} "
        f"start, worst case of {config['restarts']}"
    )
    if config["autoattack"]:
        attack += f"; AutoAttack standard (pyautoattack {report.versions['pyautoattack']})"
    smaller = " (smaller on a small set)" if head.get("smaller_batches") else ""
    training = f"{head['optimizer']}, lr {head['lr']:g}, batch {head['batch_size']}{smaller}, "
    training += f"{head['epochs']} epochs and at least {head['min_updates']:,} updates"
    if head.get("milestones"):
        epochs = ", ".join(map(str, head["milestones"]))
        training += f", lr divided by 10 after epoch {epochs}"
    if head["optimizer"] == "lbfgs":
        training = "logistic regression by L-BFGS, to convergence"
    radius = Ball(config["norm"], config["train_epsilon"]).text
    attacked = f", on PGD-{config['train_steps']} at {radius}"
    attacked += f", steps of {config['train_step_size']:g}"
    if config["linear"] == "robust":
        training += attacked
    if report.weights and report.weights["head_given"]:
        training = f"given, not trained here (fingerprint {report.weights['head']})"
    images = f"{report.num_images:,} of {data['test_images']:,} test images"
    drawn = f" ({drawn_words(data)})" if data.get("labels") else ""
    passes = "unknown" if report.crop_passes is None else f"{report.crop_passes:,}"
    hardware = report.hardware
    lines = {
        "Checkpoint": report.checkpoint,
        "Threat model": threat_model(config),
        "Attack": attack,
        "kNN": f"the {config['knn_k']} nearest, temperature {config['knn_temperature']:g}",
        "Features": f"{config['features']}, {_representation(config)}",
        "Head": training,
        "Data": f"{images}, {data['train_images']:,} train images{drawn}, seed {config['seed']}",
        "Pretraining": f"{passes} crop passes",
        "Measured": f"{report.date}, {hardware['name']} ({hardware['cores']} cores), "
        f"{report.seconds['total']:.0f} s",
        "Code": f"solo-adv {report.versions['solo_adv']}, commit {report.git_commit or 'unknown'}, "
        f"torch {report.versions['torch']}",
    }
    if transfer := transfer_words(data):
        lines["Transfer"] = transfer
    if recognised := report.pretrain_config.get("recognised"):
        lines["Encoder"] = recognised
    if config["finetune"] == "adversarial":
        recipe = config["finetune_recipe"]
        names = {"trades": "TRADES", "autolora": f"AutoLoRa of rank {recipe.get('rank')}"}
        loss = names.get(recipe.get("loss", ""))
        trades = "" if loss is None else f", {loss} with beta {recipe['beta']:g}"
        automatic = " at first, halved by validation" if recipe.get("automatic_lr") else ""
        lines["Fine-tuning"] = (
            f"encoder and head together, from that head{trades}; SGD, lr {recipe['lr']:g}"
            f"{automatic}, batch {recipe['batch_size']}, {recipe['epochs']} epochs{attacked}; kNN "
            "judges the encoder before fine-tuning"
        )
    if report.probes is not None:
        lines["Probes"] = _probes(report.probes)
    return lines


def _representation(config: Mapping[str, Any]) -> str:
    if config["protocol"] == "central":
        return "central (whole image)"
    kind = "as in pretraining" if config["crop_augmentation"] == "full" else "geometric only"
    return f"mean over the same {config['num_crops']} random crops of every image ({kind})"


def _probes(probes: Mapping[str, Any]) -> str:
    margin = ""
    if "margin_correct" in probes:  # older reports lack it
        margin = f", {probes['margin_correct']} on the margin between logits"
    return (
        f"{probes['images']} images: {probes['clean_correct']} right without attack, "
        f"{probes['zero_epsilon_correct']} at epsilon 0; at {probes['epsilon_text']} "
        f"{probes['steps_correct']} after {probes['steps']} steps, {probes['more_steps_correct']} "
        f"after twice as many{margin}; {probes['unbounded_correct']} with all pixels free; "
        f"gradient zero on {probes['zero_gradients']}"
    )
