# SPDX-License-Identifier: Apache-2.0
"""Plugins that know more than the engine: claims and the volumes behind them.

The engine decides on classes, rows and columns. A stateful plugin keeps state of its own (which device, which volume is
taken) and tells the engine what it means for a class: a verdict per row (``native.Engine.set_verdicts``). It is asked
before each decision it concerns, and told afterwards where the pod went.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass
from typing import Protocol

from kubesched.base import errors
from kubesched.kernel import native
from kubesched.state import rows
from kubesched.state.intern import Interner

_MOST_REASONS = native.VERDICT_UNRESOLVABLE - 1


@dataclass(frozen=True, slots=True)
class Rejection:
    """PreFilter turned the pod down on every node."""

    plugin: str
    unresolvable: bool
    """True: evicting pods cannot help."""
    reasons: tuple[str, ...]
    is_error: bool = False
    """True: not a verdict; the scheduler stops with this text as an internal error."""
    code: int = 0
    """Verdict code of the nodes where the filter met the error, which counts only if one of them passes the filters
    before; 0: it was met in PreFilter."""
    behind: Rejection | None = None
    """What counts in a profile without this plugin."""


class Stateful(Protocol):
    """A plugin with state of its own. Calls come in the order prepare, decision, reserve."""

    def concerns(self, shape: rows.PodShape) -> bool:
        """Whether the plugin has a say in pods of this shape. O(1)."""

    def prepare(self, key: str, class_id: int, shape: rows.PodShape) -> Rejection | None:
        """PreFilter: bring the class's verdict columns up to date for the pod of this key, or reject it.

        Pods of one class may need different columns (each has its own claims); the next decision is about this pod.
        """

    def reserve(self, key: str, class_id: int, shape: rows.PodShape, row: int) -> None:
        """The pod was put on the row (now, or it ran there already)."""

    def release(self, key: str) -> None:
        """The pod left; unknown pods are none of the plugin's business."""

    def unreserve(self, key: str) -> None:
        """The pod was never put there: the exact opposite of `reserve`, in the opposite order of pods."""

    def forget_classes(self, gone: Collection[int]) -> None:
        """Classes are given up; their ids will be those of others."""

    def mark(self) -> int:
        """A point to which `rollback` returns; marks nest."""

    def rollback(self, mark: int) -> None:
        """Undo every reserve, unreserve and release since the mark."""


class VerdictReasons:
    """Numbers of the texts that verdict columns can hold, by filter; few: texts name no pod and no node."""

    def __init__(self) -> None:
        self._by_filter: dict[str, Interner[tuple[str, ...]]] = {}

    def code(self, plugin: str, reasons: tuple[str, ...], unresolvable: bool) -> int:
        """The code that stands for the reasons in a verdict column of the filter.

        Raises
        ------
        UnsupportedError
            More than 127 distinct reasons of one filter.
        """
        number = self._by_filter.setdefault(plugin, Interner()).id(reasons) + 1
        if number > _MOST_REASONS:
            raise errors.UnsupportedError(plugin, "has too many distinct reasons", reasons, f"{_MOST_REASONS}")
        return number | (native.VERDICT_UNRESOLVABLE if unresolvable else 0)

    def reasons(self, plugin: str, code: int) -> tuple[str, ...]:
        """The reasons behind a code (its UNRESOLVABLE bit does not matter)."""
        return self._by_filter[plugin].value((code & _MOST_REASONS) - 1)


def prepare(
    plugins: Sequence[Stateful], key: str, class_id: int, shape: rows.PodShape, filters: Container[str]
) -> Rejection | None:
    """Ask all plugins that the shape concerns, in PreFilter order; only those among ``filters`` can reject.

    An unresolvable rejection (or an error) stops at once; another lets the plugins behind it run, and the last counts.
    Source: framework/runtime RunPreFilterPlugins, v1.36.
    """
    found = None
    for plugin in plugins:
        rejection = plugin.prepare(key, class_id, shape) if plugin.concerns(shape) else None
        while rejection is not None and rejection.plugin not in filters:
            rejection = rejection.behind
        if rejection is not None:
            found = rejection
            if rejection.unresolvable or rejection.is_error:
                break
    return found
