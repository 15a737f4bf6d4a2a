"""CloudWatch Logs filter patterns over unstructured text.

Terms separated by blanks must all occur; with "?" before every term any one suffices; "-" excludes. Double quotes
hold a phrase together. Source: CloudWatch Logs User Guide, "Filter pattern syntax". JSON patterns (`{ ... }`),
space-delimited ones (`[ ... ]`) and regular expressions (`%...%`) are other languages, named and refused here.
"""

from collections.abc import Callable
from typing import Final

MAX_PATTERN_CHARACTERS: Final = 1_024
"""The longest filter pattern (FilterLogEvents, API reference)."""

Matcher = Callable[[str], bool]


class FilterPatternError(ValueError):
    """The text is no filter pattern, and why."""


class UnsupportedFilterPatternError(FilterPatternError):
    """A filter pattern of a kind that is not implemented, by name."""


def compile_filter(pattern: str) -> Matcher:
    """A function that tells whether a log message matches; the empty pattern matches everything."""
    text = pattern.strip()
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise FilterPatternError(f"A filter pattern has at most {MAX_PATTERN_CHARACTERS} characters.")
    if text.startswith("{"):
        raise UnsupportedFilterPatternError("JSON filter patterns")
    if text.startswith("["):
        raise UnsupportedFilterPatternError("Space-delimited filter patterns")
    wanted: list[str] = []
    excluded: list[str] = []
    any_of: list[str] = []
    for sign, term in _terms(text):
        if not sign and len(term) > 1 and term.startswith("%") and term.endswith("%"):
            raise UnsupportedFilterPatternError("Regular expressions in filter patterns")
        {"": wanted, "-": excluded, "?": any_of}[sign].append(term)
    if wanted and any_of:
        # AWS's guide: optional terms beside required ones don't narrow anything.
        any_of = []

    def matches(message: str) -> bool:
        if any(term not in message for term in wanted) or any(term in message for term in excluded):
            return False
        return not any_of or any(term in message for term in any_of)

    return matches


def _terms(text: str) -> list[tuple[str, str]]:
    """(sign, term) pairs: the sign is "", "-" or "?"."""
    terms: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        sign = ""
        if text[position] in "?-":
            sign = text[position]
            position += 1
        if text[position : position + 1] == '"':
            term, position = _quoted(text, position + 1)
        else:
            end = position
            while end < len(text) and not text[end].isspace():
                end += 1
            term, position = text[position:end], end
        if not term:
            raise FilterPatternError("Invalid filter pattern")
        terms.append((sign, term))
    return terms


def _quoted(text: str, position: int) -> tuple[str, int]:
    out: list[str] = []
    while position < len(text):
        character = text[position]
        if character == "\\" and text[position + 1 : position + 2] in ('"', "\\"):
            out.append(text[position + 1])
            position += 2
        elif character == '"':
            return "".join(out), position + 1
        else:
            out.append(character)
            position += 1
    raise FilterPatternError("Invalid filter pattern")
