"""``python -m solo_adv.solo_learn`` runs a script as it would run by itself."""

import sys

import pytest

from solo_adv import solo_learn

SCRIPT = """
import sys
from beside import NAME

print(NAME, __name__, __file__, sys.argv)
if __name__ == "__main__":
    sys.exit(int(sys.argv[-1]))
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder that holds a script and a module that it imports."""
    folder = tmp_path / "solo-learn"
    folder.mkdir()
    (folder / "main_knn.py").write_text(SCRIPT)
    (folder / "beside.py").write_text("NAME = 'beside'")
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    """A function that runs the command in this process; returns exit status, output, errors."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["solo_learn.py", *map(str, arguments)])
        monkeypatch.delitem(sys.modules, "beside", raising=False)
        status = 0
        try:
            solo_learn.main()
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return command


@pytest.mark.parametrize("inside", [True, False])
def test_a_script_runs_as_it_does_by_itself(checkout, run, monkeypatch, inside):
    seen = []
    monkeypatch.setattr(solo_learn, "register", lambda: seen.append(sys.path[0]))
    monkeypatch.chdir(checkout if inside else checkout.parent)
    script = "main_knn.py" if inside else "solo-learn/main_knn.py"
    status, out, _ = run(script, "--k", "20", "data.train_path=DIR", "name='a=b'", "3")
    arguments = ["--k", "20", "data.train_path=DIR", "name='a=b'", "3"]
    assert out == f"beside __main__ {script} {[script, *arguments]}\n"
    assert status == 3
    assert seen == [str(checkout)]


def test_an_error_of_the_script_passes_through(checkout, run, monkeypatch):
    monkeypatch.setattr(solo_learn, "register", lambda: None)
    with pytest.raises(ValueError, match="invalid literal"):
        run(checkout / "main_knn.py", "not a number")


def test_help_describes_the_command_not_the_script(run):
    status, out, _ = run("--help")
    assert status == 0
    assert "python -m solo_adv.solo_learn main_knn.py ARGS" in out


def test_mistakes_are_one_line(checkout, run, monkeypatch):
    # With None in sys.modules a package cannot be imported.
    monkeypatch.setitem(sys.modules, "solo", None)
    monkeypatch.setitem(sys.modules, "solo.methods", None)
    for arguments, words in (
        ((), "Name a script"),
        ((checkout / "main_umap.py",), "main_umap.py'. Name a script"),
        ((checkout,), "There is no script"),
        ((checkout / "main_knn.py", "0"), "solo-learn checkout"),
    ):
        status, out, err = run(*arguments)
        assert (status, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert words in err
