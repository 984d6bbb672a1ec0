# SPDX-License-Identifier: Apache-2.0
"""What the API server takes for a label's key and value.

Source: apimachinery/pkg/util/validation (IsQualifiedName, IsValidLabelValue, IsDNS1123Label), v1.36.
"""

from __future__ import annotations

from kubesched.api import names
from kubesched.api.fields import View
from kubesched.base import errors

KEY = "a label key: 63 letters, digits, '-', '_' or '.', after a DNS name and '/' or not"
VALUE = "a label value: up to 63 letters, digits, '-', '_' or '.', the first and last a letter or digit"
NAMESPACE = "a namespace: up to 63 small letters, digits or '-', the first and last a letter or digit"


def is_key(text: str) -> bool:
    """Whether a text may name a label."""
    return not names.qualified_name(text)


def is_value(text: str) -> bool:
    """Whether a label may have a value; it may be empty."""
    return not names.label_value(text)


def is_namespace(text: str) -> bool:
    """Whether a text may name a namespace."""
    return not names.label(text)


def pairs(view: View, name: str) -> tuple[tuple[str, str], ...]:
    """The labels of a field, sorted by key.

    Raises
    ------
    InputError
        A key or a value is none.
    """
    found = view.pairs(name)
    for key, value in found:
        if not is_key(key):
            raise errors.InputError(view.where(name), "has a wrong key", key, KEY)
        if not is_value(value):
            raise errors.InputError(f"{view.where(name)}[{key!r}]", "is no label value", value, VALUE)
    return found


def key(view: View, name: str) -> str:
    """A field that names a label."""
    found = view.text(name)
    if not found:
        raise view.missing(name, KEY)
    if not is_key(found):
        raise errors.InputError(view.where(name), "is no label key", found, KEY)
    return found


def keys(view: View, name: str) -> tuple[str, ...]:
    """A field that lists label keys."""
    found = view.texts(name)
    for i, text in enumerate(found):
        if not is_key(text):
            raise errors.InputError(f"{view.where(name)}[{i}]", "is no label key", text, KEY)
    return found
