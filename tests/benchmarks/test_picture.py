"""The picture of the README."""

import json

import pytest
from PIL import Image

from benchmarks.picture import curve, draw
from benchmarks.record import RESULTS


def test_the_stored_result_and_that_of_a_new_demo_give_the_same_lines(tmp_path):
    rows = json.loads((RESULTS / "demo.json").read_text())
    epsilons, accuracies = curve(rows[1])
    assert epsilons == pytest.approx([0, 4, 8, 16])
    assert accuracies == pytest.approx([97.6, 93.8, 89.8, 66.4])
    labels = {f"PGD-20 at {a['epsilon']}": a["accuracy"] for a in rows[1]["attacks"]}
    assert curve({"accuracies": {"clean": rows[1]["clean"], **labels}}) == (epsilons, accuracies)
    draw(rows, tmp_path / "picture.png")
    assert Image.open(tmp_path / "picture.png").size == (640, 320)
