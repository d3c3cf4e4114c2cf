"""Says in words what was found in folders and files: classes, images of each, what was left out."""

from collections import Counter
from collections.abc import Mapping, Sequence

from solo_adv.data.walking import Found

NAMED = 8
"""Up to this many classes are listed with their numbers of images."""


def per_class(counts: Sequence[int], classes: Sequence[str]) -> str:
    """How many images each class has, such as ``40 images of 2 classes (car 20, cat 20)``.

    Args:
        counts: number of images of each class.
        classes: names of the classes, as many.
    """
    total, empty = sum(counts), [n for n, c in zip(classes, counts, strict=True) if not c]
    kinds = f"{len(counts)} class" + ("" if len(counts) == 1 else "es")
    if len(counts) <= NAMED:
        each = ", ".join(f"{name} {c:,}" for name, c in zip(classes, counts, strict=True))
    else:
        held = [count for count in counts if count]
        least, most = min(held, default=0), max(held, default=0)
        each = f"{least:,} each" if least == most else f"{least:,} to {most:,} each"
        each += f"; NO images of {listed(empty)}" if empty else ""
    if empty and len(counts) <= NAMED:
        each += f"; NO images of {listed(empty)}"
    return f"{total:,} images of {kinds} ({each})"


def left_out(found: Mapping[str, Found]) -> str:
    """What was not read, to be appended to a sentence; empty if everything was read.

    Args:
        found: what was found below each class folder, by class; an empty name is no class.
    """
    others: Counter[str] = Counter()
    for one in found.values():
        others.update(one.others)
    parts = []
    for extension, count in others.most_common(NAMED):
        within = [name for name, one in found.items() if name and one.others[extension]]
        where = f" in {listed(within)}" if within and len(within) < len(found) else ""
        parts.append(f"{count:,} {extension or 'without extension'}{where}")
    if repeated := sum(one.repeated for one in found.values()):
        parts.append(f"{repeated:,} links to what is read anyway or lies around them")
    if broken := sum(one.broken for one in found.values()):
        parts.append(f"{broken:,} broken links")
    return f"; left out: {', '.join(parts)}" if parts else ""


def listed(names: Sequence[str]) -> str:
    """Names as a list that is cut after some of them: ``a, b, c and 7 more``."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
