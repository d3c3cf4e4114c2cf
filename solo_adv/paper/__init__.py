"""The paper's Tables 1 to 6 as data; every figure that cannot be right is marked."""

from solo_adv.paper.tables import (
    MODELS,
    PAPER_NORM,
    TABLES,
    Figure,
    Mark,
    Model,
    Table,
    figures,
    model_of,
)

__all__ = [
    "MODELS",
    "PAPER_NORM",
    "TABLES",
    "Figure",
    "Mark",
    "Model",
    "Table",
    "figures",
    "model_of",
]
