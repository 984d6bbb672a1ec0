# SPDX-License-Identifier: Apache-2.0
"""What may be a name, a label, a port name ...: each rule returns what is wrong with a text, in upstream's words.

Source: apimachinery/pkg/util/validation and pkg/api/validate/content, v1.36.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

Rule = Callable[[str], tuple[str, ...]]
"""What is wrong with a text; empty when nothing is."""


_compiled = functools.cache(re.compile)  # when the first text comes: all together take too long for a start


class _Format(NamedTuple):
    pattern: str
    message: str
    examples: tuple[str, ...] = ()
    maximum: int = 0
    unit: str = "characters"

    def mismatch(self) -> str:
        if not self.examples:
            return f"{self.message} (regex used for validation is '{self.pattern}')"
        examples = " or ".join(f"'{example}', " for example in self.examples)
        return f"{self.message} (e.g. {examples}regex used for validation is '{self.pattern}')"


_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_ = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

_FORMATS = {
    "subdomain": _Format(
        _SUBDOMAIN,
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
        "and must start and end with an alphanumeric character",
        ("example.com",),
        253,
    ),
    "subdomain_with_underscore": _Format(
        rf"{_LABEL_}(\.{_LABEL_})*",
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', "
        "and must start and end with an alphanumeric character",
        ("example.com",),
        253,
    ),
    "wildcard_subdomain": _Format(
        rf"\*\.{_SUBDOMAIN}",
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
        "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
        ("*.example.com",),
        253,
    ),
    "dns_1035_label": _Format(
        "[a-z]([-a-z0-9]*[a-z0-9])?",
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
        "start with an alphabetic character, and end with an alphanumeric character",
        ("my-name", "abc-123"),
        63,
    ),
    "label_value": _Format(
        f"({_KEY})?",
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
        "and must start and end with an alphanumeric character",
        ("MyValue", "my_value", "12345"),
        63,
        "bytes",
    ),
    "percent": _Format(
        "[0-9]+%", "a valid percent string must be a numeric string followed by an ending '%'", ("1%", "93%")
    ),
    "http_header": _Format(
        "[-A-Za-z0-9]+", "a valid HTTP header must consist of alphanumeric characters or '-'", ("X-Header-Name",)
    ),
    "config_key": _Format(
        r"[-._a-zA-Z0-9]+",
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
        ("key.name", "KEY_NAME", "key-name"),
        253,
    ),
    "c_identifier": _Format(
        "[A-Za-z_][A-Za-z0-9_]*",
        "a valid C identifier must start with alphabetic character or '_', "
        "followed by a string of alphanumeric characters or '_'",
        ("my_name", "MY_NAME", "MyName"),
    ),
    "condition_reason": _Format(
        "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
        "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
        "characters or '_,:', and must end with an alphanumeric character or '_'",
        ("my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"),
    ),
}
_LABEL_FORMAT = _Format(
    _LABEL,
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character",
    ("my-name", "123-abc"),
    63,
)
_KEY_FORMAT = _Format(
    _KEY,
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    ("MyName", "my.name", "123-abc"),
    63,
    "bytes",
)


def _rule(form: _Format) -> Rule:
    mismatch = form.mismatch()
    long = f"must be no more than {form.maximum} {form.unit}"

    @functools.lru_cache(maxsize=8192)
    def check(text: str) -> tuple[str, ...]:
        wrong: list[str] = []
        if form.maximum and size(text) > form.maximum:
            wrong.append(long)
        if not _compiled(form.pattern).fullmatch(text):
            wrong.append(mismatch)
        return tuple(wrong)

    return check


def size(text: str) -> int:
    """How many bytes a text takes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


subdomain = _rule(_FORMATS["subdomain"])
subdomain_with_underscore = _rule(_FORMATS["subdomain_with_underscore"])
wildcard_subdomain = _rule(_FORMATS["wildcard_subdomain"])
dns_1035_label = _rule(_FORMATS["dns_1035_label"])
label_value = _rule(_FORMATS["label_value"])
percent = _rule(_FORMATS["percent"])
http_header = _rule(_FORMATS["http_header"])
c_identifier = _rule(_FORMATS["c_identifier"])
condition_reason = _rule(_FORMATS["condition_reason"])
_config_key = _rule(_FORMATS["config_key"])


@functools.lru_cache(maxsize=8192)
def label(text: str) -> tuple[str, ...]:
    """RFC 1123 label: namespaces, containers, most names inside objects."""
    wrong: list[str] = []
    if size(text) > _LABEL_FORMAT.maximum:
        wrong.append(f"must be no more than {_LABEL_FORMAT.maximum} characters")
    if not _compiled(_LABEL).fullmatch(text):
        dotted = _compiled(_SUBDOMAIN).fullmatch(text)
        wrong.append("must not contain dots" if dotted else _LABEL_FORMAT.mismatch())
    return tuple(wrong)


@functools.lru_cache(maxsize=8192)
def qualified_name(text: str) -> tuple[str, ...]:
    """A label's key: a name with or without a DNS prefix and a slash. Finalizers and resources follow it too."""
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        wrong = f"a valid label key {_KEY_FORMAT.mismatch()}"
        return (f"{wrong} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",)
    found: list[str] = []
    if slash and not prefix:
        found.append("prefix part must be non-empty")
    elif slash:
        found += [
            f"prefix part {why.replace('characters', 'bytes', 1) if why.startswith('must be') else why}"
            for why in subdomain(prefix)
        ]
    if not name:
        found.append("name part must be non-empty")
    elif size(name) > _KEY_FORMAT.maximum:
        found.append(f"name part must be no more than {_KEY_FORMAT.maximum} bytes")
    if not _compiled(_KEY).fullmatch(name):
        found.append(f"name part {_KEY_FORMAT.mismatch()}")
    return tuple(found)


def config_key(text: str) -> tuple[str, ...]:
    """A key of a ConfigMap or Secret."""
    return _config_key(text) + _directory(text)


def _directory(text: str) -> tuple[str, ...]:
    if text == ".":
        return ("must not be '.'",)
    if text == "..":
        return ("must not be '..'",)
    return ("must not start with '..'",) if text.startswith("..") else ()


@functools.lru_cache(maxsize=8192)
def env_var(text: str) -> tuple[str, ...]:
    """A name of an environment variable: anything printable in ASCII but ``=``."""
    if not text:
        return ("environment variable name must be non-empty",)
    if not (text.isascii() and text.isprintable()) or "=" in text:
        return ("a valid environment variable name must consist only of printable ASCII characters other than '='",)
    return ()


def port_name(text: str) -> tuple[str, ...]:
    """A name of a container's port."""
    wrong: list[str] = []
    if size(text) > 15:
        wrong.append("must be no more than 15 characters")
    if not _compiled("[-a-z0-9]+").fullmatch(text):
        wrong.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not _compiled("[a-z]").search(text):
        wrong.append("must contain at least one letter (a-z)")
    if "--" in text:
        wrong.append("must not contain consecutive hyphens")
    if text and "-" in (text[0], text[-1]):
        wrong.append("must not begin or end with a hyphen")
    return tuple(wrong)


@functools.lru_cache(maxsize=1024)
def port_number(number: int) -> tuple[str, ...]:
    return () if 1 <= number <= 65535 else ("must be between 1 and 65535, inclusive",)


def path_segment(text: str) -> tuple[str, ...]:
    """What may stand between two slashes of a path: names of RBAC kinds, and the least that any name must satisfy."""
    if text in (".", ".."):
        return (f"may not be '{text}'",)
    return tuple(f"may not contain '{char}'" for char in "/%" if char in text)


def path_segment_prefix(text: str) -> tuple[str, ...]:
    """The beginning of such a name."""
    return tuple(f"may not contain '{char}'" for char in "/%" if char in text)


def as_prefix(rule: Rule) -> Rule:
    """The rule for a generateName: a dash at the end is followed by something."""

    def check(text: str) -> tuple[str, ...]:
        return rule(f"{text[:-1]}a" if len(text) > 1 and text.endswith("-") else text)

    return path_segment_prefix if rule is path_segment else check
