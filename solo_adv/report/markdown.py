"""The report as a Markdown page of one screen."""

from collections.abc import Mapping
from typing import Any

from solo_adv.report.record import Report
from solo_adv.report.uncertainty import standard_error


def page(report: Report) -> str:
    """A table of accuracies in percent with their binomial standard errors, settings below."""
    parts = [
        f"# {report.method} on {report.data['name']}: {describe_head(report.config)}",
        *(f"> **ALARM** {alarm}" for alarm in report.alarms),
        _table(report),
        *(f"- Note on {a.name} at {a.epsilon_text}: {n}" for a in report.attacks for n in a.notes),
        _settings(report),
        "![Accuracy against epsilon, and example images](report.png)",
    ]
    return "\n\n".join(parts) + "\n"


def describe_head(config: Mapping[str, Any]) -> str:
    """What classifies, for a title."""
    tuned = ", adversarially fine-tuned" if config["finetune"] == "adversarial" else ""
    crops = f", {config['num_crops']} crops" if config["protocol"] == "crops" else ""
    return f"{config['linear']} linear head{crops}{tuned}"


def _table(report: Report) -> str:
    rows = [
        ("clean, top-1", report.clean, report.num_images),
        ("clean, top-5", report.clean_top5, report.num_images),
        *((f"{a.name} at {a.epsilon_text}", a.accuracy, a.total) for a in report.attacks),
        (f"kNN (k = {report.config['knn_k']}), clean", report.knn, report.num_images),
        (f"chance ({report.data['classes']} classes)", 1 / report.data["classes"], None),
    ]
    lines = ["| | accuracy, % | standard error |", "|---|---:|---:|"]
    for name, accuracy, total in rows:
        error = "" if total is None else f"± {100 * standard_error(accuracy, total):.2f}"
        lines.append(f"| {name} | {100 * accuracy:.2f} | {error} |")
    return "\n".join(lines)


def _settings(report: Report) -> str:
    config, head, data = report.config, report.head, report.data
    start = "random" if config["random_start"] else "zero"
    attack = (
        f"PGD on the cross-entropy, {config['steps']} steps of {config['step_size']:g}, {start} "
        f"start, worst case of {config['restarts']}"
    )
    if config["autoattack"]:
        attack += f"; AutoAttack standard (pyautoattack {report.versions['pyautoattack']})"
    training = f"{head['optimizer']}, lr {head['lr']:g}, batch {head['batch_size']}, "
    training += f"{head['epochs']} epochs and at least {head['min_updates']:,} updates"
    attacked = (
        f", on PGD-{config['train_steps']} at {255 * config['train_epsilon']:g}/255, "
        f"steps of {config['train_step_size']:g}"
    )
    if report.linear == "robust":
        training += attacked
    if report.weights and report.weights["head_given"]:
        training = f"given, not trained here (fingerprint {report.weights['head']})"
    images = f"{report.num_images:,} of {data['test_images']:,} test images"
    passes = "unknown" if report.crop_passes is None else f"{report.crop_passes:,}"
    hardware = report.hardware
    lines = {
        "Checkpoint": f"`{report.checkpoint}`",
        "Threat model": threat_model(config),
        "Attack": attack,
        "Features": f"{report.features}, {_representation(config)}",
        "Head": training,
        "Data": f"{images}, {data['train_images']:,} train images, seed {report.seed}",
        "Pretraining": f"{passes} crop passes",
        "Measured": f"{report.date}, {hardware['name']} ({hardware['cores']} cores), "
        f"{report.seconds['total']:.0f} s",
        "Code": f"solo-adv {report.versions['solo_adv']}, commit {report.git_commit or 'unknown'}, "
        f"torch {report.versions['torch']}",
    }
    if config["finetune"] == "adversarial":
        recipe = config["finetune_recipe"]
        lines["Fine-tuning"] = (
            f"encoder and head together, from that head; SGD, lr {recipe['lr']:g}, batch "
            f"{recipe['batch_size']}, {recipe['epochs']} epochs{attacked}; kNN is the encoder's "
            "before it"
        )
    if report.probes is not None:
        lines["Probes"] = _probes(report.probes)
    return "\n".join(f"- {name}: {text}" for name, text in lines.items())


def threat_model(config: Mapping[str, Any]) -> str:
    """What the adversary knows and may do, in words."""
    perturbed = "every pixel of the image by at most epsilon"
    if config["protocol"] == "crops" and config["space"] == "crop":
        perturbed = (
            f"every pixel of each of the {config['num_crops']} resized crops by at most epsilon, "
            "each crop on its own (no change of the image does that)"
        )
    elif config["protocol"] == "crops":
        perturbed += f", from which the {config['num_crops']} crops are then cut"
    return (
        f"white-box, end to end through encoder and {config['linear']} head, L-infinity: the "
        f"adversary knows all weights{_and_crops(config)} and changes {perturbed}"
    )


def _and_crops(config: Mapping[str, Any]) -> str:
    return " and the crops" if config["protocol"] == "crops" else ""


def _representation(config: Mapping[str, Any]) -> str:
    if config["protocol"] == "central":
        return "central (whole image)"
    kind = "as in pretraining" if config["crop_augmentation"] == "full" else "geometric only"
    return f"mean over the same {config['num_crops']} random crops of every image ({kind})"


def _probes(probes: Mapping[str, Any]) -> str:
    return (
        f"{probes['images']} images: {probes['clean_correct']} right without attack, "
        f"{probes['zero_epsilon_correct']} at epsilon 0; at {probes['epsilon_text']} "
        f"{probes['steps_correct']} after {probes['steps']} steps, {probes['more_steps_correct']} "
        f"after twice as many; {probes['unbounded_correct']} with all pixels free; gradient zero "
        f"on {probes['zero_gradients']}"
    )
