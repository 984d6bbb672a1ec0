# SPDX-License-Identifier: Apache-2.0
"""Values as upstream's texts write them: Go's quoting of strings, its printing of numbers and of everything else."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


def quote(text: str) -> str:
    """A string in double quotes as Go's ``%q`` writes it (strconv.Quote)."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_escape(char) for char in text) + '"'


def _escape(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def number(value: float) -> str:
    """A float as Go's ``%v``: shortest form, exponent below 1e-4 and from 1e21."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    return f"{mantissa}e{'-' if exponent[0] == '-' else '+'}{int(exponent.lstrip('+-')):02d}"


def value(item: Any) -> str:
    """A value as an error about a field shows it: strings quoted, numbers plain, the rest as JSON."""
    if isinstance(item, str):
        return quote(item)
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, int):
        return str(item)
    if isinstance(item, float):
        return number(item)
    text = json.dumps(item, ensure_ascii=False, separators=(",", ":"), sort_keys=False)
    # Go's JSON keeps these three out of HTML.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def difference(old: Any, new: Any) -> str:
    """A unified diff of two values. Upstream's shows its own types; ours the fields as the API names them."""
    before, after = (json.dumps(value, indent=1, ensure_ascii=False).splitlines(keepends=True) for value in (old, new))
    lines = list(difflib.unified_diff(before, after))[2:]  # without the names of files
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


class Struct:
    """A type of upstream's own that errors show: its fields in its order and under its names, absent ones as zero.

    ``zeros`` names the fields as Go does, with their zero values; another Struct is a pointer to one.
    """

    def __init__(self, zeros: Mapping[str, Any]) -> None:
        self._fields = [(name, _of_json(name), zero) for name, zero in zeros.items()]

    def show(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """The value to give to an error."""
        return {go: _shown(obj.get(name), zero) for go, name, zero in self._fields}


def _shown(found: Any, zero: Any) -> Any:
    if isinstance(zero, Struct):
        return None if found is None else zero.show(found)
    return zero if found is None else found


def _of_json(name: str) -> str:
    """The name in JSON of a field in Go: ``SELinuxOptions`` -> ``seLinuxOptions``."""
    return re.sub(r"^[A-Z]+?(?=[A-Z]?[a-z]|$)|^[A-Z]", lambda found: found[0].lower(), name, count=1)


def printed(item: Any) -> str:
    """A value of JSON as Go prints one inside a text."""
    if isinstance(item, dict):
        return "map[" + " ".join(f"{name}:{printed(item[name])}" for name in sorted(item)) + "]"
    if isinstance(item, list):
        return "[" + " ".join(map(printed, item)) + "]"
    if item is None:
        return "<nil>"
    return str(item).lower() if isinstance(item, bool) else str(item)
