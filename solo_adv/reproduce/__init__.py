"""Reproduces rows of the paper's tables: ``python -m solo_adv.reproduce table4 --row cfamc_m5``.

``rows.py`` holds the rows as data, ``plan.py`` turns them into configs and costs, ``commands.py``
into commands, and ``run.py`` runs these.
"""

from solo_adv.reproduce.plan import Job, plan
from solo_adv.reproduce.rows import ROWS, TABLES, Evaluation, Row

__all__ = ["ROWS", "TABLES", "Evaluation", "Job", "Row", "plan"]
