"""What other people see of the package: metadata, README on a package index, workflows."""

import re
import runpy
from pathlib import Path

import pytest
import setuptools
import yaml

ROOT = Path(__file__).parents[1]


@pytest.fixture
def packaged(monkeypatch):
    """A function that returns what setup.py hands to setuptools, given the repository's address."""

    def read(url=None):
        given = {}
        monkeypatch.setattr(setuptools, "setup", given.update)
        if url is None:
            monkeypatch.delenv("SOLO_ADV_URL", raising=False)
        else:
            monkeypatch.setenv("SOLO_ADV_URL", url)
        runpy.run_path(str(ROOT / "setup.py"))
        return given

    return read


def relative_links(text):
    return re.findall(r"\]\((?!https?:|#)([^)]+)\)", text)


def test_every_link_of_the_readme_leads_to_a_file():
    links = relative_links((ROOT / "README.md").read_text())
    assert "docs/demo.png" in links
    assert [link for link in links if not (ROOT / link.partition("#")[0]).is_file()] == []


def test_the_readme_on_a_package_index(packaged):
    text = packaged()["long_description"]
    assert relative_links(text) == []
    assert "has tutorials" in text
    assert "url" not in packaged()
    named = packaged("https://example.org/us/it")
    assert named["url"] == "https://example.org/us/it"
    text = named["long_description"]
    assert relative_links(text) == []
    assert "(https://example.org/us/it/blob/HEAD/docs/zoo.md)" in text
    assert "(https://example.org/us/it/raw/HEAD/docs/demo.png)" in text


def test_the_version_is_in_one_place_and_the_changelog_begins_with_it(packaged):
    version = packaged()["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## (\S+)", changelog, re.MULTILINE)[1] == version
    others = [*ROOT.glob("*.cff"), *ROOT.glob("*.toml"), *(ROOT / "solo_adv").rglob("*.py")]
    assert [path for path in others if f'"{version}"' in path.read_text()] == []


def test_workflows_and_the_image_run_commands_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    files = [ROOT / "Dockerfile", *(ROOT / ".github/workflows").glob("*.yml")]
    run = [
        target for f in files for target in re.findall(r"\bmake ([a-z][a-z-]*) PY", f.read_text())
    ]
    assert set(run) == {"install", "lint", "test", "test-lowest", "wheel"}
    assert set(run) <= targets


def test_workflows_try_every_python_that_setup_allows(packaged):
    workflow = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())
    tried = workflow["jobs"]["newest"]["strategy"]["matrix"]["python"]
    named = [c.rpartition(" ")[2] for c in packaged()["classifiers"] if "Python :: 3." in c]
    assert tried == named
    assert f">={tried[0]}" == packaged()["python_requires"]


@pytest.mark.parametrize(
    "file",
    sorted(
        path.relative_to(ROOT).as_posix()
        for pattern in (".github/**/*.yml", "*.cff", ".pre-commit-config.yaml")
        for path in ROOT.glob(pattern)
    ),
)
def test_files_for_services_are_valid_yaml(file):
    assert isinstance(yaml.safe_load((ROOT / file).read_text()), dict)
