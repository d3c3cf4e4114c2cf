"""Fills the templates of pages. Everything that is put into one is escaped."""

from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from solo_adv.support.hashes import sha256_for_browsers
from solo_adv.support.version import package_version

_HERE = "solo_adv.report.html"


def render(template: str, **shown: Any) -> str:
    """Fill a template of this package.

    Args:
        template: name of the file, such as ``report.html``.
        shown: what the template shows. Text is escaped; markup must be :class:`Markup`.
    """
    return _environment().get_template(template).render(**shown)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    script = _text("script.js")
    environment.globals |= {
        "style": Markup(_text("style.css")),
        "script": Markup(script),
        "script_hash": sha256_for_browsers(script),
        "version": package_version(),
    }
    return environment


def _text(name: str) -> str:
    return (resources.files(_HERE) / name).read_text(encoding="utf-8")


def percent(fraction: float, digits: int = 2) -> str:
    """A fraction in percent, without the sign."""
    return f"{100 * fraction:.{digits}f}"
