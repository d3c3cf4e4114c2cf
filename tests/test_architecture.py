"""A room imports only from the rooms below it, and no modules import each other in a circle."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

import solo_adv

ROOT = Path(solo_adv.__file__).parents[1]

ROOMS = (
    "conf",
    "support",
    "objectives",
    "adversaries",
    "crops",
    "data",
    "encoders",
    "paper",
    "report",
    "catalogue",
    "pretrained",
    "methods",
    "host",
    "evaluation.aggregation",
    "evaluation.images",
    "evaluation.attacks",
    "evaluation.corruptions",
    "evaluation.heads",
    "evaluation.trust",
    "evaluation",
    "training",
    "zoo",
    "cost",
    "benchmark",
    "interface",
    "preview",
    "commands",
    "reproduce",
    "solo_learn",
    "",
)
"""All rooms of ``solo_adv``, from the ground up; the last one is ``solo_adv/__init__.py``."""

OUTSIDE = ("benchmarks", "torture", "tests", "hydra_plugins")
"""Folders beside the package, which may use it; the package never uses them."""


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted((root / "solo_adv").rglob("*.py")):
        parts = list(path.relative_to(root).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(source: str, known: set[str]) -> set[str]:
    """Find the modules that a source imports: at the top, in functions, or for type checkers.

    Modules whose full name is a string in the source count as well, because ``import_module`` takes
    such strings.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {node.value} & known - {"solo_adv"}
    return {name for name in found if name.partition(".")[0] in ("solo_adv", *OUTSIDE)}


def room_of(module: str) -> str:
    """The room of a module, which has the longest name with which the module's name begins."""
    inner = module.removeprefix("solo_adv").removeprefix(".")
    names = [room for room in ROOMS if inner == room or inner.startswith(f"{room}.")]
    if not names:
        raise AssertionError(f"{module} is in no room of the list")
    return max(names, key=len)


@pytest.fixture(scope="module")
def arrows() -> dict[str, set[str]]:
    """The modules that each module of the package imports."""
    sources = modules()
    return {name: imports_of(path.read_text(), set(sources)) for name, path in sources.items()}


def upward(arrows: dict[str, set[str]]) -> list[str]:
    """The imports of a room from above the importing one."""
    return [
        f"{module} imports {target}"
        for module, targets in arrows.items()
        for target in sorted(targets)
        if target.startswith("solo_adv")
        and ROOMS.index(room_of(target)) > ROOMS.index(room_of(module))
    ]


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Find modules that import each other in a circle; the list is empty if there are none."""
    # Imports of a package by its own files do not count: its __init__ imports those files.
    graph = {
        module: {t for t in targets if t != module and not module.startswith(f"{t}.")}
        for module, targets in arrows.items()
    }
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_no_import_runs_upward(arrows):
    assert upward(arrows) == []


def test_no_circle(arrows):
    assert circle(arrows) == []


def test_the_package_uses_nothing_that_stands_beside_it(arrows):
    assert {t for targets in arrows.values() for t in targets if t.startswith(OUTSIDE)} == set()


def test_every_room_of_the_list_exists(arrows):
    assert set(ROOMS) == {room_of(module) for module in arrows}


def test_lazy_and_type_checking_imports_are_seen():
    source = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from solo_adv.catalogue import loading
def later():
    from solo_adv.commands.demo import demo
    import solo_adv.cost
    return import_module("solo_adv.report")
"""
    known = {"solo_adv.catalogue.loading", "solo_adv.report"}
    assert imports_of(source, known) == {
        "solo_adv.catalogue.loading",
        "solo_adv.commands.demo",
        "solo_adv.cost",
        "solo_adv.report",
    }


def test_an_import_upward_and_a_circle_are_found():
    assert upward({"solo_adv.crops.spec": {"solo_adv.data.config"}}) == [
        "solo_adv.crops.spec imports solo_adv.data.config"
    ]
    there_and_back = {
        "solo_adv.data.a": {"solo_adv.data.b"},
        "solo_adv.data.b": {"solo_adv.data.a"},
    }
    assert set(circle(there_and_back)) == {"solo_adv.data.a", "solo_adv.data.b"}


ONCE = {
    "top-k accuracy": (r"topk\(min\(", {"support/hits.py"}),
    "bars": (r"rich\.progress", {"support/progress.py"}),
    "printing tables": (r"Console\(\w*\)\.print\(\w*table", set()),
    "SHA-256": (r"hashlib", {"support/hashes.py", "support/files.py"}),
    "number of processes": (r"get_world_size|is_initialized", {"support/processes.py"}),
    # This names the file to which pooch moves a finished download.
    "renaming what is whole": (
        r"os\.replace|\.replace\(path\)",
        {"support/files.py", "catalogue/download.py"},
    ),
}


@pytest.mark.parametrize("thing", ONCE)
def test_what_several_rooms_need_is_in_one_place(thing):
    pattern, places = ONCE[thing]
    package = ROOT / "solo_adv"
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(pattern, path.read_text())
    }
    assert found == places


def test_contributing_shows_the_same_house():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    shown = text.partition("<!-- rooms -->")[2].partition("<!-- end of rooms -->")[0]
    named = [line.split("`")[1] for line in shown.splitlines() if line.startswith("| `")]
    assert named == [room or "__init__" for room in reversed(ROOMS)]


def test_tests_stand_where_their_rooms_do():
    rooms = {path.parent.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")}
    beside = {"benchmarks", "torture", "fuzz", "gpu", "device", "docs", "examples"}
    for folder in rooms - {Path("tests")}:
        inner = folder.relative_to("tests")
        if inner.parts[0] not in beside:
            assert (ROOT / "solo_adv" / inner.parts[0]).exists(), folder


def test_public_names():
    assert sorted(solo_adv.__all__) == [
        "METHODS",
        "UserError",
        "__version__",
        "add_method",
        "evaluate",
        "load_pretrained",
        "pretrain",
        "register",
        "run_benchmark",
        "zoo",
    ]
    for name in solo_adv.__all__:
        assert getattr(solo_adv, name) is not None
    assert solo_adv.zoo.__all__ == [
        *(
            "Entry",
            "StoredFile",
            "compact",
            "entries",
            "evaluate",
            "extend",
            "find",
            "list",
            "load",
            "publish",
            "push_to_hub",
        )
    ]
    assert all(callable(getattr(solo_adv.zoo, name)) for name in solo_adv.zoo.__all__)
    commands = ("zoo", "report", "reproduce", "paper", "cost", "preview")
    assert all((ROOT / "solo_adv" / name / "__main__.py").is_file() for name in commands)
    assert (ROOT / "solo_adv" / "conf" / "cfamc.yaml").is_file()
    assert (ROOT / "hydra_plugins" / "solo_adv.py").is_file()
    for name in ("pretrain", "linear", "knn", "robust"):
        assert (ROOT / f"main_{name}.py").is_file()
    for name in ("pretrain", "linear", "knn", "robust", "demo"):
        assert f"solo-adv-{name}=" in (ROOT / "setup.py").read_text()
