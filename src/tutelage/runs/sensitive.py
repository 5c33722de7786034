"""Recognises secrets in settings: by the name of a setting, and by the form of its value.

A run writes down its configuration and its command, so neither may contain a secret.
"""

from __future__ import annotations

import os
import re
from typing import Any


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PASSWORDS = _set(
    "credential credentials pass passphrase passwd password passwords pwd secret secrets"
)
"""Under these names even a number is secret; under the others it is a limit (max_tokens=40)."""
_SECRETS = _PASSWORDS | _set(
    "accesskey accesstoken apikey auth authorization authtoken bearer cookie cookies jwt key keys "
    "secretkey session sessionid sig signature token tokens"
)
"""A setting is secret by one of these words in its name: api_key, accessToken, HF_TOKEN."""
_OF_A_TABLE = _set(
    "column columns field foreign group index label order partition primary sentence sort text"
)
"""Words next to "key" that make it a column or a dictionary's key: text_key, sort_key."""
_OF_A_TEXT = _set(
    "added analysis billed bos budget cls completion context count cue end eos first input last "
    "level limit mask max min new number out output pad per prompt reply sep special spent start "
    "stop sub total type unk word"
)
"""Words next to "token" that make it a piece of text: pad_token, cue_tokens, token_type."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

_PLAIN = re.compile(
    r"(?i)(?:null|none|true|false|auto|(?:(?:range|choice|interval)\()?[-+\d_.,\s\[\]e]*\)?)\Z"
)
"""Numbers, lists of numbers, and words for "as usual"."""
_REFERENCE = re.compile(r"\\*\$\{[\w.:]+(?:,\s*null)?\}")
"""To a variable of the environment or to another setting; a default in it would be a secret."""
_SCHEME = re.compile(r"(?i)\s*(?:(?:bearer|basic|token)\s*)?\Z")
"""What is left of a harmless value without its references."""

_SIGNED_IN = re.compile(r"://(?!git@)[^/?#\s@]+@")
"""A URL with a user's name or token, with or without a password."""
_PARAMETER = re.compile(r"[?&;#]([\w.\-]+)=([^&;#\s]+)")
_HEADER = re.compile(r"\s*([A-Za-z][\w\-]*)\s*[:=]\s*(\S.*)\Z", re.DOTALL)
_SECRET_HEADER = re.compile(
    r"(?i)\s*(?:(?:proxy-)?authorization|(?:set-)?cookie|api[-_]?key"
    r"|x-[\w\-]*(?:key|token|secret|auth)[\w\-]*)\s*:\s*(\S.*)\Z",
    re.DOTALL,
)
_FORMS = re.compile(
    r"""(?<![A-Za-z0-9])(?:
    gh[pousr]_\w{10,} | github_pat_\w{10,} | glpat-[\w\-]{10,}       # GitHub, GitLab
    | (?:AKIA|ASIA)[A-Z0-9]{12,}                                     # AWS
    | xox[a-z]-[\w\-]{6,} | xapp-[\w\-]{10,}                         # Slack
    | eyJ[\w\-]{10,}                                                 # a JSON web token
    | AIza[\w\-]{20,} | ya29\.[\w\-]{10,}                            # Google
    | (?:gsk|r8|npm)_[A-Za-z0-9]{20,} | nvapi-[\w\-]{20,}            # Groq, Replicate, npm, NVIDIA
    | [sr]k_(?:live|test)_\w{10,}                                    # Stripe
    | pypi-Ag[\w\-]{10,}
    | [Bb]earer\s+(?=\S*\d)\S{8,}
    | -----BEGIN\s[A-Z ]*PRIVATE\sKEY
    )""",
    re.VERBOSE,
)
_PREFIXED = re.compile(r"(?<![A-Za-z0-9])(?:sk-([A-Za-z0-9_\-]{8,})|hf_([A-Za-z0-9]{10,}))")
"""Keys whose prefix also begins ordinary names (sk-learn, hf_datasets)."""
_ORDINARY = re.compile(r"(?:[A-Z]?[a-z]{0,14}|[A-Z]{1,14})(?:\d{0,3}|(?:19|20)\d\d)\Z")
"""A part of an ordinary name: a word, perhaps with a version or a year."""


def looks_secret(name: str, value: object) -> bool:
    """Whether a value must not be written to disk.

    Args:
        name: Name of a setting or of an environment variable.
        value: Its value. References to the environment are no secrets.
    """
    words = _words(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return bool(words & _PASSWORDS)
    if not isinstance(value, str):
        return False
    if names_a_variable(name):
        return not may_be_a_variable(value)
    rest = _REFERENCE.sub("", value)
    if not rest.strip() or (rest != value and _SCHEME.match(rest)):
        return False
    if has_secret_form(rest):
        return True
    header = _HEADER.match(rest) if words & {"header", "headers"} else None
    if header and _is_secret_name(header[1]) and not _SCHEME.match(header[2]):
        return True
    number = _PLAIN.match(rest) and not (words & _PASSWORDS and re.search(r"\d", rest))
    return _is_secret_name(name) and not number


def names_a_variable(name: str) -> bool:
    """Whether a setting holds the name of the variable with a secret, such as api_key_env."""
    words = [word.lower() for word in _WORD.findall(name)]
    return words[-1:] == ["env"] and bool(_SECRETS & {*words})


def may_be_a_variable(value: str) -> bool:
    """Whether a text can be the name of an environment variable, rather than a secret; "" can."""
    if not value or value in os.environ or _REFERENCE.fullmatch(value):
        return True
    # Keys of many services are letters and digits only, which a variable's name could be, too.
    random = len(value) >= 16 and "_" not in value and re.search(r"\d", value)
    known = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) is not None
    return known and not random and not has_secret_form(value)


def has_secret_form(value: str) -> bool:
    """Whether a text contains what is a secret under any name: a key, or a URL with a user."""
    if _FORMS.search(value) or _SIGNED_IN.search(value):
        return True
    if (header := _SECRET_HEADER.match(value)) and not _SCHEME.match(header[1]):
        return True
    if any(
        _is_secret_name(name) and not _PLAIN.match(given)
        for name, given in _PARAMETER.findall(value)
    ):
        return True
    return any(
        not all(map(_ORDINARY.match, re.split("[-_]", found[1] or found[2])))
        for found in _PREFIXED.finditer(value)
    )


def masked(node: Any, classes: str, name: str = "") -> Any:
    """Replace every apparent secret in nested plain values by "***".

    Args:
        node: The values.
        classes: A setting whose keys are class names; a class called "token" is no secret.
        name: Name of the setting with these values.
    """
    if isinstance(node, dict):
        return {
            key: value if key == classes else masked(value, classes, str(key))
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [masked(value, classes, name) for value in node]
    return "***" if looks_secret(name, node) else node


def _is_secret_name(name: str) -> bool:
    words = _words(name)
    found = words & _SECRETS
    if words & _OF_A_TABLE:
        found -= {"key", "keys"}
    if words & _OF_A_TEXT or words == {"tokens"}:
        found -= {"token", "tokens"}
    return bool(found)


def _words(name: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(name))
