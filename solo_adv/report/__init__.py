"""Many reports as one table and one picture: ``python -m solo_adv.report DIR...``.

Every ``report.json`` below the directories becomes a row, with the paper's figure beside ours where
the paper has one for the same training, data set, head, protocol and attack.
"""

from solo_adv.report.entries import Entry, find_reports, read_entry
from solo_adv.report.measurement import Measurement
from solo_adv.report.merge import merge
from solo_adv.report.record import FILE, Report

__all__ = ["FILE", "Entry", "Measurement", "Report", "find_reports", "merge", "read_entry"]
