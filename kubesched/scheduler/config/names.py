# SPDX-License-Identifier: Apache-2.0
"""Names as Kubernetes allows them, with its texts. Source: apimachinery/pkg/util/validation, v1.36."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kubesched.state import rows

_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_NAME_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_DOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and"
    " end with an alphanumeric character"
)
_MOST_DOMAIN, _MOST_NAME = 253, 63


def _regex(text: str, pattern: str, *examples: str) -> str:
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {listed}regex used for validation is '{pattern}')"


def qualified(name: str) -> list[str]:
    """What is wrong with ``[prefix/]name``; empty if nothing."""
    parts = name.split("/")
    if len(parts) > 2:
        text = _regex(f"a qualified name {_NAME_TEXT}", _NAME, "MyName", "my.name", "123-abc")
        return [f"{text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    out = list(_prefix(parts[0])) if len(parts) == 2 else []
    own = parts[-1]
    if not own:
        out.append("name part must be non-empty")
    elif len(own.encode()) > _MOST_NAME:
        out.append(f"name part must be no more than {_MOST_NAME} bytes")
    if re.fullmatch(_NAME, own) is None:
        out.append(f"name part {_regex(_NAME_TEXT, _NAME, 'MyName', 'my.name', '123-abc')}")
    return out


def _prefix(prefix: str) -> Iterator[str]:
    if not prefix:
        yield "prefix part must be non-empty"
        return
    if len(prefix.encode()) > _MOST_DOMAIN:
        yield f"prefix part must be no more than {_MOST_DOMAIN} bytes"
    if re.fullmatch(_SUBDOMAIN, prefix) is None:
        yield f"prefix part {_regex(_DOMAIN_TEXT, _SUBDOMAIN, 'example.com')}"


def is_extended_resource(name: str) -> bool:
    """Whether a resource is neither native nor a quota. Source: v1helper.IsExtendedResourceName, v1.36."""
    return rows.is_extended(name) and not qualified(f"requests.{name}")
