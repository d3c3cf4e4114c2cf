"""Every row of the paper's tables by name: ``python -m solo_adv.reproduce table4 --row cfamc_m5``.

A row is data (``rows.py``); a plan turns rows into configs, commands and costs; a run executes it.
"""

from solo_adv.reproduce.plan import Job, plan
from solo_adv.reproduce.rows import ROWS, TABLES, Evaluation, Row

__all__ = ["ROWS", "TABLES", "Evaluation", "Job", "Row", "plan"]
