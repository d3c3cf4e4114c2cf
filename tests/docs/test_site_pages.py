"""The pages of the documentation site that are made from the code and from other files."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
griffe = pytest.importorskip("griffe", reason="the site needs the extra docs")


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "scripts/site_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("page", "text", "expected"),
    [
        ("index.md", "[a](docs/zoo.md#load)", "[a](zoo.md#load)"),
        ("index.md", "[a](zoo/README.md)", "[a](models.md)"),
        ("zoo.md", "[a](../zoo/README.md)", "[a](models.md)"),
        ("zoo.md", "[a](../tests/conftest.py)", "[a](files/tests/conftest.py.md)"),
        ("zoo.md", "[a](../nowhere.py)", "[a](../nowhere.py)"),
        ("zoo.md", "[a](https://b.org/c.md) [d](#e)", "[a](https://b.org/c.md) [d](#e)"),
    ],
)
def test_links_between_files_become_links_between_pages(pages, page, text, expected):
    page = SimpleNamespace(file=SimpleNamespace(src_uri=page))
    assert pages.on_page_markdown(text, page, None, None) == expected


def test_a_public_name_without_docstring_is_found(pages, tmp_path):
    folder = tmp_path / "solo_adv"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""A package."""\n')
    (folder / "a.py").write_text('''"""A module."""
from torch import nn

class Base:
    """Documented."""
    def told(self):
        """Documented."""

class Inner(Base):
    """Documented."""
    def told(self): ...
    def untold(self): ...
    def _private(self): ...

class Network(nn.Module):
    """Documented."""
    def forward(self, x): ...

def bare(): ...
''')
    package = griffe.load("solo_adv", search_paths=[str(tmp_path)], try_relative_path=False)
    assert pages.undocumented(package) == ["solo_adv.a.Inner.untold", "solo_adv.a.bare"]


def test_no_page_loads_anything_from_the_net():
    config = (ROOT / "mkdocs.yml").read_text()
    assert "font: false" in config
    assert "offline" not in config  # this plugin adds a script of another host
