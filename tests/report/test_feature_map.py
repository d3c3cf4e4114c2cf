"""The picture and the table of a map of features."""

import csv

import pytest
import torch
from PIL import Image

from solo_adv.report.feature_map import FeatureMap, write_map
from solo_adv.support.errors import UserError


def make_map(attacked=True, classes=("cat", "dog")):
    return FeatureMap(
        clean=torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]),
        attacked=torch.tensor([[0.5, 1.5], [2.5, 3.5], [4.5, 5.5]]) if attacked else None,
        labels=torch.tensor([1, 0, -1]),
        classes=classes,
        title="a map",
        attack="attacked",
    )


def test_the_table_has_a_row_for_each_image(tmp_path):
    files = write_map(make_map(), tmp_path / "deep" / "map.v1")
    assert files == {kind: tmp_path / "deep" / f"map.v1.{kind}" for kind in ("png", "csv")}
    assert list(csv.reader(files["csv"].open())) == [
        ["class", "clean_x", "clean_y", "attacked_x", "attacked_y"],
        ["dog", "0", "1", "0.5", "1.5"],
        ["cat", "2", "3", "2.5", "3.5"],
        ["", "4", "5", "4.5", "5.5"],
    ]


@pytest.mark.parametrize("classes", [("cat", "dog"), tuple(map(str, range(100)))])
def test_the_picture_is_wider_with_an_attack(tmp_path, classes):
    sizes = [
        Image.open(write_map(make_map(attacked, classes), tmp_path / str(attacked))["png"]).size
        for attacked in (False, True)
    ]
    assert sizes[1][0] == pytest.approx(2 * sizes[0][0], abs=2)
    table = (tmp_path / "False.csv").read_text()
    assert table.startswith("class,clean_x,clean_y\n")


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Choose another --output"):
        write_map(make_map(), tmp_path / "file" / "map")
