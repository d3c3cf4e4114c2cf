"""One row of the merged table: a ``report.json`` with the paper's figures for it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from solo_adv.paper import PAPER_NORM, Figure, figures, model_of
from solo_adv.report.measurement import Measurement
from solo_adv.report.record import FILE, Report
from solo_adv.report.words import labels_words, training_words
from solo_adv.support.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One report, and the figures that the paper prints for its measurements."""

    file: Path
    report: Report
    row: str | None
    """The row of the paper whose model was trained; None if the paper has no such model."""
    printed: Mapping[str, tuple[Figure, ...]]
    """The paper's figures for each label of a measurement. There are several if the paper prints
    different values for the same measurement; equal values appear once."""

    @property
    def model(self) -> str:
        """The name of the run (``name`` in the pretraining config)."""
        return str(self.report.pretrain_config.get("name") or self.report.method)

    @property
    def training(self) -> str:
        """What distinguishes the training run, in a few words."""
        return training_words(self.report.pretrain_config)

    @property
    def dataset(self) -> str:
        """The data set on which it was judged."""
        return str(self.report.data["name"])

    @property
    def judged_on(self) -> str:
        """The data set with what else must be equal for a comparison: labels, and pretraining data.

        It is the name of the data set alone if all labels were used, without transfer. Only then
        the figures can be compared with printed ones.
        """
        return ", ".join([self.dataset, *self._data_words])

    @property
    def _data_words(self) -> list[str]:
        few, transfer = labels_words(self.report.data), self.report.data.get("transfer")
        words = [few] if few else []
        if transfer:
            words.append(f"transfer from {transfer['pretrained_on'] or 'unknown data'}")
        return words

    @property
    def head(self) -> str:
        """The kind of head: ``standard`` or ``robust``."""
        return str(self.report.config["linear"])

    @property
    def protocol(self) -> str:
        """``central`` if the whole image was classified, ``crops`` if its crops were."""
        return str(self.report.config["protocol"])

    @property
    def num_crops(self) -> int | None:
        """How many crops represent an image; None if the whole image does."""
        return self.report.config.get("num_crops") if self.protocol == "crops" else None

    @property
    def evaluation(self) -> str:
        """Head, protocol and features in a few words."""
        config = self.report.config
        words = ["r-LE head" if self.head == "robust" else f"{self.head} head"]
        if config["finetune"] != "none":
            words = [f"{config['finetune']} fine-tuning"]
        if self.protocol == "crops":
            words.append(f"{self.num_crops} crops")
            if config["space"] != "crop":
                words.append(f"attacked in {config['space']} space")
        elif self.protocol != "central":
            words.append(self.protocol)
        if config["features"] != "hidden":
            words.append(config["features"])
        words += self._data_words
        return ", ".join(words)

    @property
    def by_label(self) -> dict[str, Measurement]:
        """The measurements under their labels."""
        return self.report.by_label


def find_reports(places: Iterable[str | Path]) -> list[Path]:
    """Find every ``report.json`` in or below the places. A place may also be such a file.

    Raises:
        UserError: a place does not exist, or there is no report in any of them.
    """
    given = [Path(place) for place in places]
    found: dict[Path, None] = {}
    for place in given:
        if not place.exists():
            raise UserError(f"No such directory: '{place}'.")
        files = [place] if place.is_file() else sorted(place.rglob(FILE))
        found |= dict.fromkeys(file.resolve() for file in files)
    if not found:
        where = ", ".join(f"'{place}'" for place in given)
        raise UserError(f"No {FILE} in or below {where}. main_robust.py writes them.")
    return list(found)


def read_entry(file: Path) -> Entry:
    """Read the report in a file and find the paper's figures for it.

    Raises:
        UserError: the file cannot be read or is not a report of this package.
    """
    report = Report.read(file)
    try:
        entry = Entry(file=file, report=report, row=model_of(report.pretrain_config), printed={})
        printed = {m.label: _printed(entry, m) for m in report.measurements}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{file} is not a whole report: {error!r}") from error
    return replace(entry, printed=printed)


def _printed(entry: Entry, measurement: Measurement) -> tuple[Figure, ...]:
    """The paper's figures for a measurement, without repeated values.

    A table of the paper that does not say which head it used fits any head. The paper uses all
    labels of the data set on which the encoder was pretrained.
    """
    config = entry.report.config
    same_kind = config["features"] == "hidden" and config["finetune"] == "none"
    same_space = config["space"] == "crop" or entry.protocol == "central"
    same_threat = same_space and config["norm"] == PAPER_NORM
    same_data = entry.judged_on == entry.dataset
    if entry.row is None or not (same_kind and same_threat and same_data):
        return ()
    place = {
        "row": entry.row,
        "dataset": entry.dataset,
        "protocol": entry.protocol,
        "num_crops": entry.num_crops,
        "quantity": measurement.name,
        "epsilon": measurement.epsilon,
    }
    found = figures(**place, head=entry.head) or figures(**place, head=None)
    return tuple({figure.value: figure for figure in found}.values())
