# SPDX-License-Identifier: Apache-2.0
"""What the selectors of a cluster can tell apart of pods.

Rules about other pods look at labels and namespaces through selectors. A label whose key none of them mentions, and a
value that none of them names, are the same to all of them: pods that differ only there share a class. So a stream of
pods with labels of their own (hashes, job names, indexes) does not make classes of its own.

A selector that comes later may see what was hidden. What was hidden is remembered, because most selectors come together
with the first pods that they select: only where one meets something hidden has each pod to be looked at again.
"""

from __future__ import annotations

from kubesched.state import rows

_OTHER = "\0"
"""Stands for every value that no selector names; no label has it."""
_MOST_HIDDEN = 1 << 14
"""Values that are remembered as hidden; beyond that anything may be."""


class Sight:
    """Keys, values and namespaces that selectors name; it grows until it is `reset`."""

    def __init__(self) -> None:
        self._values: dict[str, set[str]] = {}
        self._named: set[str] = set()
        self._listed: set[str] = set()
        self._by_labels = False
        self._elsewhere: str | None = None
        self._forget()

    def reset(self) -> None:
        """See nothing any more; shapes are to be seen anew once selectors were named again."""
        self._values.clear()
        self._named.clear()
        self._by_labels = False
        self._forget()

    def _forget(self) -> None:
        """All shapes are about to be seen anew."""
        self._hidden: dict[str, set[str]] = {}
        self._hidden_namespaces = set[str]() if self._elsewhere is None else {self._elsewhere}
        self._n_hidden = 0

    # ---- what is seen of a pod ----

    def seen(self, namespace: str, labels: rows.Labels) -> tuple[str, rows.Labels]:
        """A pod's namespace and labels as selectors see them. O(labels)."""
        return self._namespace(namespace), tuple([(k, self._value(k, v)) for k, v in labels if self._sees(k, v)])

    def _sees(self, key: str, value: str) -> bool:
        if key in self._values:
            return True
        self._hide(self._hidden.setdefault(key, set()), value)
        return False

    def _value(self, key: str, value: str) -> str:
        if value in self._values[key]:
            return value
        self._hide(self._hidden.setdefault(key, set()), value)
        return _OTHER

    def _hide(self, among: set[str], value: str) -> None:
        if self._n_hidden < _MOST_HIDDEN and value not in among:
            among.add(value)
            self._n_hidden += 1

    def _namespace(self, name: str) -> str:
        """The namespace, or the one that stands for all that are hidden: the first that was."""
        if self._sees_namespace(name):
            return name
        self._hide(self._hidden_namespaces, name)
        if self._elsewhere is None or self._sees_namespace(self._elsewhere):
            self._elsewhere = name
        return self._elsewhere

    def _sees_namespace(self, name: str) -> bool:
        return name in self._named or (self._by_labels and name in self._listed)

    # ---- what selectors name: each says whether that is something that was hidden ----

    def select(self, selector: rows.LabelSelector) -> bool:
        """A label selector comes."""
        exposes = False
        for q in selector or ():
            hidden = self._hidden.get(q.key, set())
            if q.key not in self._values:
                self._values[q.key] = set()
                exposes |= bool(hidden) or self._may_hide()
            new = set(q.values) - self._values[q.key]
            self._values[q.key] |= new
            exposes |= bool(new and (self._may_hide() or not new.isdisjoint(hidden)))
        return self._expose(exposes)

    def name(self, namespace: str) -> bool:
        """A rule names a namespace."""
        if namespace in self._named:
            return False
        exposes = not self._sees_namespace(namespace) and self._hides(namespace)
        self._named.add(namespace)
        return self._expose(exposes)

    def select_namespaces(self) -> bool:
        """A rule selects namespaces by their labels."""
        if self._by_labels:
            return False
        self._by_labels = True
        return self._expose(any(self._hides(name) for name in self._listed))

    def list_namespace(self, name: str) -> bool:
        """A namespace's labels are known."""
        if name in self._listed:
            return False
        self._listed.add(name)
        return self._expose(self._by_labels and name not in self._named and self._hides(name))

    def _may_hide(self) -> bool:
        return self._n_hidden >= _MOST_HIDDEN

    def _hides(self, namespace: str) -> bool:
        return namespace in self._hidden_namespaces or self._may_hide()

    def _expose(self, exposes: bool) -> bool:
        if exposes:
            self._forget()
        return exposes
