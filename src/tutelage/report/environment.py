"""The common environment of all HTML pages.

Templates escape by default, a content security policy blocks everything from outside, and numbers
have a single format.
"""

from __future__ import annotations

import base64
import hashlib
import math
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

_MISSING = "\N{EN DASH}"


def page_environment(templates: Path, script: str = "") -> Environment:
    """Build the Jinja environment for a folder of templates.

    Templates escape every value and fail on undefined names. They have filters for numbers,
    ``style``, and ``csp``, a policy that blocks network, frames, and every script but ``script``.

    Args:
        templates: The folder of the templates.
        script: The page's own script, allowed by its hash; "" allows none.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Filters print missing values as a dash, and use a proper minus sign.
    made.filters |= {
        "percent": _percent,
        "count": _count,
        "duration": duration,
        "points": _points,
        "moment": _moment,
        "signed": _signed,
        "p": _p,
    }
    made.globals |= {
        "csp": _policy(script),
        "style": Markup((Path(__file__).parent / "report.css").read_text(encoding="utf-8")),
    }
    return made


def _policy(script: str) -> str:
    # Only inline styles and data: images (the empty icon) are allowed.
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none';"
    )
    if not script:
        return policy
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"{policy} script-src 'sha256-{digest}';"


def duration(seconds: float) -> str:
    """Format seconds for people: "4.2 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _percent(value: float | None) -> str:
    return _MISSING if value is None or not math.isfinite(value) else f"{100 * value:.1f}"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")


def _signed(count: int) -> str:
    return f"{count:+,}".replace("-", "\N{MINUS SIGN}") if count else "0"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else _MISSING if value is None else str(value)


def _p(value: float) -> str:
    return _MISSING if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _moment(value: Any) -> str:
    """Format an ISO time without its T and fractions of a second; other values stay unchanged."""
    try:
        return datetime.fromisoformat(str(value)).strftime("%Y-%m-%d %H:%M:%S %Z").strip()
    except ValueError:
        return str(value or "")
