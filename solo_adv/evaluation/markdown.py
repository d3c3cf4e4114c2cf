"""The report as a Markdown page of one screen."""

from typing import TYPE_CHECKING

from solo_adv.evaluation.uncertainty import standard_error

if TYPE_CHECKING:
    from solo_adv.evaluation.report import Report


def page(report: "Report") -> str:
    """A table of accuracies in percent with their binomial standard errors, settings below."""
    parts = [
        f"# {report.method} on {report.data['name']}: {report.linear} linear head",
        *(f"> **ALARM** {alarm}" for alarm in report.alarms),
        _table(report),
        *(f"- Note on {a.name} at {a.epsilon_text}: {n}" for a in report.attacks for n in a.notes),
        _settings(report),
        "![Accuracy against epsilon, and example images](report.png)",
    ]
    return "\n\n".join(parts) + "\n"


def _table(report: "Report") -> str:
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


def _settings(report: "Report") -> str:
    config, head, data = report.config, report.head, report.data
    start = "random" if config["random_start"] else "zero"
    attack = (
        "white-box L-infinity on the cross-entropy, end to end, "
        f"{config['steps']} steps of {config['step_size']:g}, {start} start, "
        f"worst case of {config['restarts']}"
    )
    training = f"{head['optimizer']}, lr {head['lr']:g}, batch {head['batch_size']}, "
    training += f"{head['epochs']} epochs and at least {head['min_updates']:,} updates"
    if report.linear == "robust":
        training += (
            f", on PGD-{config['train_steps']} at {255 * config['train_epsilon']:g}/255, "
            f"steps of {config['train_step_size']:g}"
        )
    images = f"{report.num_images:,} of {data['test_images']:,} test images"
    passes = "unknown" if report.crop_passes is None else f"{report.crop_passes:,}"
    hardware = report.hardware
    lines = {
        "Checkpoint": f"`{report.checkpoint}`",
        "Features": f"{report.features}, {report.protocol} (whole image)",
        "Attack": attack,
        "Head": training,
        "Data": f"{images}, {data['train_images']:,} train images, seed {report.seed}",
        "Pretraining": f"{passes} crop passes",
        "Measured": f"{report.date}, {hardware['name']} ({hardware['cores']} cores), "
        f"{report.seconds['total']:.0f} s",
        "Code": f"solo-adv {report.versions['solo_adv']}, commit {report.git_commit or 'unknown'}, "
        f"torch {report.versions['torch']}",
    }
    return "\n".join(f"- {name}: {text}" for name, text in lines.items())
