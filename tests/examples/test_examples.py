"""The examples run as notebooks, which say the same as the scripts."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))


def test_there_are_examples():
    assert [path.name[0] for path in SCRIPTS] == list("12345")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_is_that_of_its_script(script):
    """``make notebooks`` makes the notebooks from the scripts."""
    jupytext = pytest.importorskip("jupytext")
    ours, theirs = (jupytext.read(script.with_suffix(end)) for end in (".py", ".ipynb"))
    expected, found = ([(c.cell_type, c.source) for c in n.cells] for n in (ours, theirs))
    assert found == expected
    assert not any(cell.get("outputs") for cell in theirs.cells)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_runs(script, tmp_path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=900, resources=place).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert outputs
    told = "".join(output.get("text", "") for output in outputs)
    assert "\x1b[" not in told  # a notebook shows no bar of a terminal
