"""The page's templates: every text in them is escaped by Jinja2, and has no control characters."""
import functools
import pathlib
from typing import Any, Optional

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ghost_ms.core.text import printable

FOLDER = pathlib.Path(__file__).with_name("templates")


def render(**values: Any) -> str:
    """The page, of what its parts (`trainings`, `models`) found out."""
    return _environment().get_template("page.html").render(**values)


@functools.lru_cache(maxsize=None)
def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True, finalize=_text)
    environment.globals.update(columns=columns, many=many)
    return environment


def _text(value: Any) -> Any:
    """A stranger's text without control characters; what is HTML already, such as a chart, as it is."""
    return value if isinstance(value, Markup) else printable(value, lines=True)


def own_file(name: str) -> Markup:
    """A file of the page's own, its script or its style sheet, as it is."""
    return Markup((FOLDER / name).read_text(encoding="utf-8"))


def columns(count: int) -> int:
    """Columns for so many cards that leave no lonely one in the last row."""
    return count if count < 4 else next((columns for columns in (3, 2, 4) if count % columns != 1), 3)


def many(count: int, what: str) -> str:
    """'3 runs', '1 run', '' for none."""
    return f"{count} {what}{'s' if count > 1 else ''}" if count else ""


def number(value: Optional[float], form: str, unit: str = "") -> str:
    """The number, NaN among them, or a dash where there is none."""
    return "–" if value is None else f"{format(value, form)}{unit}"
