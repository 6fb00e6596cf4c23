"""How the templates of pages are filled: what they can call, and that texts of others stay texts."""

from __future__ import annotations

from pathlib import Path

import jinja2
from markupsafe import Markup

from hvcost.report import numbers
from hvcost.report.numbers import Number
from hvcost.wording import sentence_case

FOLDER = Path(__file__).parent


def style() -> Markup:
    """The style sheet of all pages."""
    return Markup((FOLDER / "style.css").read_text(encoding="utf-8"))


def template(name: str) -> jinja2.Template:
    """A template of this folder."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["unit_of"] = numbers.unit
    environment.filters["beside_of"] = numbers.beside_of
    environment.filters["sentence_case"] = sentence_case
    environment.tests["number"] = lambda part: isinstance(part, Number)
    return environment.get_template(name)
