"""The plots of pages."""

from markupsafe import Markup

from solo_adv.adversaries import NORMS
from solo_adv.report.html.drawing import Plot
from solo_adv.report.measurement import CLEAN, by_attack
from solo_adv.report.record import Report

KINDS = ("first", "second", "third", "fourth")
SHAPES = ("circle", "square", "diamond", "circle")


def curve(report: Report) -> Markup | None:
    """Accuracy against epsilon, with a line for each attack and bars of one standard error.

    Returns:
        The plot; None if the report has no attack in the norm of its settings.
    """
    norm = report.config["norm"]
    attacks = {name: found for (name, of), found in by_attack(report.attacks).items() if of == norm}
    if not attacks:
        return None
    clean = report.by_label[CLEAN]
    radii = {attack.epsilon: attack.radius for found in attacks.values() for attack in found}
    plot = Plot(
        f"Accuracy against epsilon under {' and '.join(attacks)}; the table has the same figures",
        x=(-0.04 * max(radii), 1.08 * max(radii)),
        y=(-6, 104),  # room for the figures beside points at the border
    )
    plot.x_axis({0.0: "0 (clean)", **radii}, NORMS[norm].axis)
    plot.y_axis({float(tick): str(tick) for tick in range(0, 101, 20)}, "correct, %")
    chance = 100 / report.data["classes"]
    plot.line([(0, chance), (max(radii), chance)], "chance")
    for number, found in enumerate(attacks.values()):
        kind, shape = KINDS[number % len(KINDS)], SHAPES[number % len(SHAPES)]
        points = [(m.epsilon, 100 * m.accuracy, 100 * m.standard_error) for m in (clean, *found)]
        plot.line([(x, y) for x, y, _ in points], kind)
        for m, (x, y, error) in zip((clean, *found), points, strict=True):
            plot.error(x, max(0, y - error), min(100, y + error), kind)
            plot.point(x, y, kind, f"{m.label}: {y:.2f} ± {error:.2f} %", shape=shape)
            if number == 0 or m is not clean:
                plot.note(x, y, f"{y:.1f}", kind, below=number > 0)
    plot.key(
        [
            *(
                (f"under {name}", KINDS[number % len(KINDS)], SHAPES[number % len(SHAPES)])
                for number, name in enumerate(attacks)
            ),
            (f"chance ({chance:.3g} %)", "chance", ""),
        ],
        line=True,
    )
    return plot.svg
