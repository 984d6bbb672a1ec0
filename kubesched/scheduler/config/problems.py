# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a configuration, in the words of kube-scheduler: ``<path>: <kind>: <value>: <detail>``.

Source: apimachinery/pkg/util/validation/field (error texts), v1.36.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kubesched.base import errors


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Parameters
    ----------
    path
        Where, for example ``profiles[0].plugins.score.enabled[1]``.
    text
        What, for example ``Invalid value: 101: not in valid range [0-100]``.
    is_unsupported
        True: kube-scheduler takes it, kubesched does not implement it.
    """

    path: str
    text: str
    is_unsupported: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


def invalid(path: str, value: Any, detail: str) -> Problem:
    return Problem(path, f"Invalid value: {shown(value)}: {detail}")


def required(path: str, detail: str = "") -> Problem:
    return Problem(path, f"Required value: {detail}" if detail else "Required value")


def duplicate(path: str, value: Any) -> Problem:
    return Problem(path, f"Duplicate value: {shown(value)}")


def forbidden(path: str, detail: str) -> Problem:
    return Problem(path, f"Forbidden: {detail}")


def not_supported(path: str, value: Any, known: Sequence[str]) -> Problem:
    """A value outside a list; names the nearest one, too."""
    listed = ", ".join(shown(name) for name in known)
    return Problem(path, f"Unsupported value: {shown(value)}: supported values: {listed}")


def unimplemented(path: str, what: str) -> Problem:
    """Valid for kube-scheduler, but not implemented here."""
    return Problem(path, f"{what} is not implemented", is_unsupported=True)


def shown(value: Any) -> str:
    """A value as the texts show it: JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def nearest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean "x"?)`` with the nearest known name."""
    folded = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), folded, 1, 0.0)
    return f" (did you mean {shown(folded[near[0]])}?)" if near else ""


def error(source: str, found: Sequence[Problem]) -> errors.InputError:
    """The first problem as an exception; says how many more there are."""
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    kind = errors.UnsupportedError if first.is_unsupported else errors.InputError
    return kind(f"{source}: {first.path}", f"{first.text}{more}")
