# SPDX-License-Identifier: Apache-2.0
"""Two versions of a kind that show one stored object: between the stored form and another.

What a server keeps, judges and prints is the stored form; clients read and write the other. Fields that only one of
them has travel in annotations, where upstream does so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kubesched.api import normal, schema
from kubesched.api.selectors import FieldSelector
from kubesched.api.strategy import Object


@dataclass(frozen=True, slots=True)
class Conversion:
    """How objects of one version become stored ones, and back. Both functions leave their argument alone."""

    to_stored: Callable[[Object], Object]
    from_stored: Callable[[Object], Object]
    fields: Mapping[str, str] = field(default_factory=dict)  # selectable fields, by the names of this version

    def renamed(self, selector: FieldSelector) -> FieldSelector:
        """A selector with the names that stored objects are selected by."""
        terms = (term._replace(field=self.fields.get(term.field, term.field)) for term in selector.terms)
        return FieldSelector(tuple(terms))


def printed(obj: Object, group: str, version: str, kind: str) -> Object:
    """A converted object as a typed server prints it: empty values left out, or there."""
    return normal.normalise(obj, schema.of(group, version, kind))[0]
