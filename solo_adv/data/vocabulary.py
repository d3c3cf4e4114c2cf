"""Turns the labels that a table stores into class numbers, the same for train and test split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from solo_adv.data.findings import listed
from solo_adv.support.errors import UserError

KNOWN_CLASSES = {"cifar10": 10, "cifar100": 100, "stl10": 10, "svhn": 10}
"""How many classes the labels of published data sets count, of which a file may hold a part."""


@dataclass(frozen=True)
class Vocabulary:
    """Which class number each stored label has.

    Attributes:
        numbers: the class of each stored label; None if the labels are class numbers already.
        classes: names of the classes, in their order; empty if unknown.
        size: how many classes there are.
    """

    numbers: Mapping[Any, int] | None
    classes: tuple[str, ...]
    size: int

    @classmethod
    def of_names(cls, names: Sequence[str]) -> "Vocabulary":
        """For labels that are class numbers, with the names of the classes."""
        return cls(None, tuple(names), len(names))

    @classmethod
    def of_values(cls, stored: Sequence[Any], dataset: str) -> "Vocabulary":
        """Find the classes of all labels of the train split.

        Labels that begin at 0 and leave out at most every second number are class numbers. Others
        are numbered in ascending order. A label of -1 says that an image has none, unless -1 and
        1 are the only labels.

        Args:
            stored: the different labels: whole numbers, truth values or texts.
            dataset: name of the data set.
        """
        values = sorted(stored, key=_order)
        kinds = {type(value) for value in values}
        if kinds <= {int} and values != [-1, 1]:
            values = [value for value in values if value != -1]
            highest = max(values, default=-1)
            count = max(highest + 1, KNOWN_CLASSES.get(dataset, 0) if values else 0)
            if not values or (values[0] >= 0 and count == KNOWN_CLASSES.get(dataset)):
                return cls(None, (), count)
            if values[0] == 0 and 2 * len(values) > highest:
                return cls(None, (), count)
        numbers = {value: number for number, value in enumerate(values)}
        return cls(numbers, tuple(str(value) for value in values), len(values))

    @property
    def finding(self) -> str:
        """What is to be said about labels that were not class numbers; empty if they were."""
        if not self.numbers:
            return ""
        stored = list(self.numbers)
        shown = " to ".join(dict.fromkeys((str(stored[0]), str(stored[-1]))))
        return f"the stored labels, {shown}, are numbered from 0"

    def read(self, column: pa.ChunkedArray, names: Sequence[str], where: str) -> np.ndarray:
        """The class numbers of a column, int64 (N,), -1 where it says that there is no label.

        Args:
            column: the stored labels, as :func:`as_labels` gives them, without nulls.
            names: names of the classes that the file gives, in its own order; empty if it does not.
            where: the column and the file, for messages.

        Raises:
            UserError: a label or a name is not one of the train split.
        """
        stored = distinct(column)
        if names:
            table = dict(enumerate(self._numbers_of(names, where)))
        elif self.numbers is not None:
            table = dict(self.numbers)
        else:
            table = {value: value for value in range(self.size)}
        if -1 not in table:
            table[-1] = -1
        foreign = [value for value in stored if value not in table]
        if foreign:
            known = f"0 to {self.size - 1}" if names or self.numbers is None else None
            raise UserError(
                f"{where} holds the label {foreign[0]}, which is not among the train split's "
                f"({known or listed(self.classes)})."
            )
        found = np.array([table[value] for value in stored], dtype=np.int64)
        places = pc.index_in(column, pc.unique(column)).to_numpy()
        return found[places]

    def _numbers_of(self, names: Sequence[str], where: str) -> Sequence[int]:
        if not self.classes:
            return range(len(names))
        places = {name: number for number, name in enumerate(self.classes)}
        foreign = [name for name in names if name not in places]
        if foreign:
            raise UserError(
                f"{where} names the class '{foreign[0]}', which is not among the train split's "
                f"({listed(self.classes)})."
            )
        return [places[name] for name in names]


def distinct(column: pa.ChunkedArray) -> list[Any]:
    """The different labels of a column, in the order in which they first occur."""
    return list(pc.unique(column).to_pylist())


def as_labels(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """A column as whole numbers, truth values or texts.

    Args:
        column: the stored labels.
        where: the column and the file, for messages.

    Raises:
        UserError: it holds something else.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_floating(kind):  # pandas makes whole numbers of a column with gaps so
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid:
            pass
    elif (
        pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
    ):
        return column
    raise UserError(
        f"{where} must hold one label for each image, a whole number or a text; it is {kind}. "
        "Another column is chosen by data.label_column=NAME."
    )


def _order(value: Any) -> tuple[int, Any]:
    """Texts that are numbers come in the order of the numbers."""
    if isinstance(value, str) and value.isdecimal():
        return 0, int(value)
    return 1, value
