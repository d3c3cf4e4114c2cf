"""Reports of evaluations. ``python -m solo_adv.report DIR...`` merges many into one table.

Every ``report.json`` below the directories becomes a row. The paper's figure stands beside ours if
the paper prints one for the same training, data set, head, protocol and attack.
"""

from typing import TYPE_CHECKING

from solo_adv.support.lazy import lazy_names

if TYPE_CHECKING:
    from solo_adv.report.entries import Entry, find_reports, read_entry
    from solo_adv.report.measurement import Measurement
    from solo_adv.report.merging import merge
    from solo_adv.report.record import FILE, Report

__all__ = ["FILE", "Entry", "Measurement", "Report", "find_reports", "merge", "read_entry"]

__getattr__ = lazy_names(
    __name__,
    {
        "FILE": "solo_adv.report.record",
        "Entry": "solo_adv.report.entries",
        "Measurement": "solo_adv.report.measurement",
        "Report": "solo_adv.report.record",
        "find_reports": "solo_adv.report.entries",
        "merge": "solo_adv.report.merging",
        "read_entry": "solo_adv.report.entries",
    },
)
