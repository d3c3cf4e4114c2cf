"""The measurement of common corruptions: made from counts, and shown as a table."""

from collections.abc import Mapping, Sequence

from solo_adv.report.measurement import CORRUPTIONS, Measurement


def corruptions_measured(
    correct: Mapping[str, Sequence[int]],
    *,
    images: int,
    source: str,
    generated: bool,
    missing: Sequence[str],
    notes: Sequence[str],
    seconds: float,
) -> Measurement:
    """Make a measurement of counts. Its accuracy is the mean over corruptions and severities.

    Args:
        correct: for each corruption, how many images were correct at each severity.
        images: number of images of a corruption at one severity.
        source: where the images come from.
        generated: whether they were generated for the measurement.
        missing: corruptions of the benchmark that were not measured.
        notes: remarks for the reader.
        seconds: how long it took.
    """
    details = {
        f"{name} {severity}": count
        for name, counts in correct.items()
        for severity, count in enumerate(counts, start=1)
    }
    return Measurement(
        name=CORRUPTIONS,
        correct=sum(details.values()),
        total=images * len(details),
        settings={
            "times": len(details),
            "variant": f"{len(correct)}, {'generated' if generated else 'stored'}",
            "source": source,
            "missing": list(missing),
        },
        notes=tuple(notes),
        details=details,
        seconds=seconds,
    )


def by_severity(measurement: Measurement) -> dict[str, list[float]] | None:
    """The accuracy in percent of each corruption at every severity, and the ``mean`` as last row.

    Returns:
        None if the measurement is not one of corruptions, or has no details.
    """
    if measurement.name != CORRUPTIONS or not measurement.details:
        return None
    rows: dict[str, list[float]] = {}
    for key, count in measurement.details.items():
        name = key.rpartition(" ")[0]
        rows.setdefault(name, []).append(100 * count / measurement.images)
    rows["mean"] = [sum(column) / len(rows) for column in zip(*rows.values(), strict=True)]
    return rows


def corruption_table(measurement: Measurement) -> str | None:
    """The accuracy in percent by corruption and severity, as Markdown.

    Returns:
        The table; None if the measurement is not one of corruptions, or has no details.
    """
    rows = by_severity(measurement)
    if rows is None:
        return None
    severities = [str(number + 1) for number in range(len(rows["mean"]))]
    lines = [
        f"| {measurement.label}, severity | {' | '.join(severities)} | mean |",
        "|---|" + "---:|" * (len(severities) + 1),
    ]
    for name, cells in rows.items():
        shown = [*cells, sum(cells) / len(cells)]
        lines.append(f"| {name} | {' | '.join(f'{cell:.2f}' for cell in shown)} |")
    return "\n".join(lines)
