"""Markdown tables of the zoo, for the model cards and for ``zoo/README.md``."""

from collections.abc import Iterable

from solo_adv.catalogue.entry import Entry, Evaluation
from solo_adv.report.measurement import Measurement, by_label

PREFACE = """# Models

`python -m solo_adv.zoo list --markdown` generates this page, and a test compares them.
`solo_adv.load_pretrained(name)` loads the encoder of a model; `head="linear"` or
`head="robust_linear"` loads a classifier. The tables give the accuracy in percent of a linear head
on the frozen encoder, trained on clean images (linear) or on attacked ones (robust_linear, r-LE, at
epsilon 8/255; robust_linear_eps4 at 4/255). Attacks are white-box on encoder and head, L-infinity,
in pixels. The number of test images is in brackets. The full reports are in
`solo_adv/zoo/models/<name>/`.
"""


def markdown(entries: Iterable[Entry]) -> str:
    """``zoo/README.md``: all models, with one row for each evaluation."""
    models = list(entries)
    parts = [PREFACE]
    for entry in models:
        parts.append(f"## `{entry.name}`\n\n{entry.summary}\n\n{facts(entry)}\n")
        parts.append(results(entry) + "\n")
    return "\n".join(parts)


def facts(entry: Entry) -> str:
    """Two lines that say how the model is built and was trained."""
    dims = ", ".join(f"{name} {size}" for name, size in entry.feature_dims.items())
    network = f"{entry.backbone['name']}, {entry.backbone['stem']} stem"
    kwargs = ", ".join(f"{key} {value}" for key, value in entry.backbone["kwargs"].items())
    training = entry.training
    passes = training["crop_passes"]
    spent = "unknown" if passes is None else f"{passes:,} crop passes"
    if teacher := (training["config"].get("teacher") or {}).get("checkpoint"):
        spent += f" and those of its teacher `{teacher}`"
    minutes = "" if training["minutes"] is None else f", {training['minutes']:g} minutes"
    hardware = "" if training["hardware"] is None else f" on {training['hardware']}"
    megabytes = sum(file.size for file in entry.files.values()) / 1e6
    return (
        f"`{entry.method}` on {entry.dataset}; {network}{kwargs and f' ({kwargs})'}; images of "
        f"{entry.image_size} pixels; features {dims}.  \n"
        f"Training: {spent}{minutes}{hardware}. {megabytes:.1f} MB, {entry.licence}, {entry.date}."
    )


def results(entry: Entry) -> str:
    """The published figures as a Markdown table with one row for each evaluation."""
    found = [(head_name(e), by_label(e.measurements)) for e in entry.evaluations]
    columns = list(dict.fromkeys(label for _, measured in found for label in measured))
    lines = [f"| head | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for head, measured in found:
        cells = [percent(measured[label]) if label in measured else "" for label in columns]
        lines.append(f"| {' | '.join([head, *cells])} |")
    return "\n".join(lines)


def head_name(evaluation: Evaluation) -> str:
    """The head's name, with a note if the evaluation averaged crops or fine-tuned."""
    name = evaluation.head
    if evaluation.protocol == "crops":
        name += ", mean of crops"
    return name + (", fine-tuned" if evaluation.finetune == "adversarial" else "")


def percent(measurement: Measurement) -> str:
    """An accuracy as text, such as ``51.2 (1,000)``: percent and number of images."""
    return f"{100 * measurement.accuracy:.1f} ({measurement.images:,})"
