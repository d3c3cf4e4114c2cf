"""Makes the pages of the documentation site that are not in docs/, from the code and other files.

MkDocs calls the functions named ``on_...`` (mkdocs.yml). A public name without docstring is a
warning, and a warning ends ``mkdocs build --strict``.
"""

import gc
import logging
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from solo_adv.catalogue.index import packaged
from solo_adv.support.configs import primary_configs
from solo_adv.zoo.table import markdown as zoo_table

ROOT = Path(__file__).parents[1]
PACKAGE = "solo_adv"
COPIES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
}
"""Files outside docs/ and the pages of the site that show them."""
MADE = {"zoo/README.md": "models.md"}
"""Files that the code makes, and the pages for which it makes them again."""
PLACES = COPIES | MADE
SHOWN = "files"
"""Folder of the site for other files of the repository to which a page links."""
_LINK = re.compile(r"(\]\(|(?:src|href)=\")(?!https?:|mailto:|#|/)([^)\s\"#]+)")
log = logging.getLogger("mkdocs.solo_adv")


def on_startup(**_: object) -> None:
    """Keep memory instead of searching it for garbage: the build is short, and a fifth faster."""
    gc.disable()


def on_config(config: MkDocsConfig) -> None:
    """Add the reference, a page for each part of the package, to the navigation."""
    assert config.nav is not None
    config.nav.append({"Reference": [{name: page} for name, page in _reference_pages().items()]})


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages that are not in docs/."""
    package = griffe.load(PACKAGE, search_paths=[str(ROOT)], try_relative_path=False)
    pages = {page: (ROOT / file).read_text("utf-8") for file, page in COPIES.items()}
    pages["models.md"] = zoo_table(packaged().values())
    pages["method-list.md"] = _method_list()
    for name, page in _reference_pages().items():
        pages[page] = _reference(package, name)
    texts = pages | {f.src_uri: f.content_string for f in files.documentation_pages()}
    for page, text in texts.items():
        for file in _linked(page, text):
            pages[_shown(file)] = f"# {file}\n\n```{_language(file)}\n{_text(file)}\n```\n"
    for page, text in pages.items():
        made = File.generated(config, page, content=text)
        if page.startswith(SHOWN):
            made.inclusion = made.inclusion.NOT_IN_NAV
        files.append(made)
    for name in undocumented(package):
        log.warning("%s has no docstring, and the reference shows it", name)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    here = page.file.src_uri

    def turned(found: re.Match[str]) -> str:
        target = _page_of(_in_repository(here, found[2]))
        if target is None:
            return found[0]
        return found[1] + posixpath.relpath(target, posixpath.dirname(here) or ".")

    return _LINK.sub(turned, markdown)


def undocumented(package: griffe.Module) -> list[str]:
    """The public names of the package that have no docstring and inherit none.

    Methods of classes whose base is of another package are left out: they are usually that
    package's hooks, which it documents.
    """
    return [found.path for found in _public(package) if not _documented(found)]


def _public(parent: griffe.Module | griffe.Class) -> Iterator[griffe.Object]:
    yield parent
    for name, member in parent.members.items():
        if name.startswith("_") or member.is_alias:
            continue
        if isinstance(member, griffe.Module | griffe.Class):
            yield from _public(member)
        elif isinstance(member, griffe.Function):
            yield member


def _documented(found: griffe.Object) -> bool:
    owner = found.parent
    if found.has_docstring or not isinstance(owner, griffe.Class):
        return found.has_docstring
    if isinstance(found, griffe.Function) and "overload" in str(found.decorators):
        return True
    above = owner.mro()
    outside = any(
        not str(getattr(base, "canonical_path", base)).startswith(f"{PACKAGE}.")
        for one in (owner, *above)
        for base in one.bases
    )
    inherited = (one.members.get(found.name) for one in above)
    return outside or any(one is not None and one.has_docstring for one in inherited)


def _reference_pages() -> dict[str, str]:
    """For each part of the package its page, in the order of their names."""
    folder = ROOT / PACKAGE
    parts = [p for p in folder.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()]
    names = sorted(part.stem for part in parts if not part.stem.startswith("_"))
    names.remove("conf")  # it holds configs only
    return {PACKAGE: "reference/index.md"} | {
        f"{PACKAGE}.{name}": f"reference/{name}.md" for name in names
    }


def _reference(package: griffe.Module, name: str) -> str:
    if name == PACKAGE:
        return _names_of_the_package(package)
    lines = [f"# {name}\n"]
    for module in _modules(package[name.removeprefix(f"{PACKAGE}.")]):
        lines += [f"## {module} {{ #{module} }}\n", f"::: {module}\n"]
    return "\n".join(lines)


def _modules(module: griffe.Module) -> list[str]:
    inner = [m for n, m in sorted(module.modules.items()) if not n.startswith("_")]
    return [module.path, *(path for one in inner for path in _modules(one))]


def _names_of_the_package(package: griffe.Module) -> str:
    lines = [f"# {PACKAGE}\n", f"{package.docstring.value if package.docstring else ''}\n"]
    for name in package.exports or ():
        member = package.members.get(str(name))
        target = member.target_path if isinstance(member, griffe.Alias) else ""
        home = target.partition(".")[2].partition(".")[0]
        lines.append(f"- [`{PACKAGE}.{name}`][{target}]" if home else f"- `{PACKAGE}.{name}`")
    return "\n".join(lines) + "\n"


def _method_list() -> str:
    rows = [f"| `{name.removesuffix('.yaml')}` | {text} |" for name, text in _methods()]
    return "\n".join(
        (
            "# Methods by name\n",
            "`python main_pretrain.py --config-name NAME.yaml` trains one; [methods](methods.md)",
            "explains them. This list comes from the configs.\n",
            "| name | method and settings |",
            "|---|---|",
            *rows,
        )
    )


def _methods() -> Iterator[tuple[str, str]]:
    yield from primary_configs().items()


def _linked(page: str, text: str) -> set[str]:
    """Files of the repository to which a page links and that have no page."""
    found = {_in_repository(page, link[2]) for link in _LINK.finditer(text)}
    return {f for f in found if f not in PLACES and not f.startswith("docs/") and _exists(f)}


def _in_repository(page: str, target: str) -> str:
    """The file of the repository that a link on a page means."""
    origin = {place: file for file, place in PLACES.items()}.get(page, f"docs/{page}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))


def _page_of(file: str) -> str | None:
    if file in PLACES:
        return PLACES[file]
    if file.startswith("docs/"):
        return file.removeprefix("docs/")
    return _shown(file) if _exists(file) else None


def _exists(file: str) -> bool:
    return not file.startswith("..") and (ROOT / file).is_file()


def _shown(file: str) -> str:
    return f"{SHOWN}/{file}.md"


def _text(file: str) -> str:
    return (ROOT / file).read_text("utf-8")


def _language(file: str) -> str:
    return {".py": "python", ".yaml": "yaml", ".sh": "bash", ".json": "json"}.get(
        Path(file).suffix, "text"
    )
