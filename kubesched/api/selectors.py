# SPDX-License-Identifier: Apache-2.0
"""Label and field selectors as clients write them in a query.

Source: apimachinery/pkg/labels/selector.go and pkg/fields/selector.go, v1.36.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from kubesched.api import names, status
from kubesched.api.status import FieldError, invalid_value

_INTEGER = re.compile(r"[+-]?[0-9]+")
_TOKEN = re.compile(r"[ \t\r\n]*(?:(?P<symbol>==|!=|[=!(),<>])|(?P<word>[^=!(),<>\s]+))")
_OPERATORS = ("in", "notin", "=", "==", "!=", "gt", "lt")
_BINARY = "!=, ==, =, in, notin, >, <"


class SelectorError(ValueError):
    """A selector that cannot be read; ``str()`` is upstream's text."""


class Requirement(NamedTuple):
    """One condition: ``operator`` is ``in``, ``notin``, ``exists``, ``!``, ``gt`` or ``lt``."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        found = labels.get(self.key)
        match self.operator:
            case "in":
                return found is not None and found in self.values
            case "notin":
                return found is None or found not in self.values
            case "exists":
                return found is not None
            case "!":
                return found is None
            case _:
                return _compare(self.operator, found, self.values[0])


def _compare(operator: str, found: str | None, wanted: str) -> bool:
    if found is None or not _INTEGER.fullmatch(found) or not -(2**63) <= int(found) < 2**63:
        return False
    return int(found) > int(wanted) if operator == "gt" else int(found) < int(wanted)


class LabelSelector(NamedTuple):
    """All requirements hold. No requirement matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __bool__(self) -> bool:
        return bool(self.requirements)


EVERYTHING = LabelSelector()


def parse_labels(text: str) -> LabelSelector:
    """Read ``a=b,c in (d,e),!f,g>1``.

    Raises
    ------
    SelectorError
        With upstream's text.
    """
    return LabelSelector(tuple(sorted(_Parser(text).requirements()))) if text else EVERYTHING


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = self._scan(text)
        self.at = 0

    @staticmethod
    def _scan(text: str) -> list[tuple[bool, str]]:
        """Tokens as (is a word, text), ended by an empty symbol."""
        out: list[tuple[bool, str]] = []
        at = 0
        while match := _TOKEN.match(text, at):
            word = match.group("word")
            out.append((word is not None, word if word is not None else match.group("symbol")))
            at = match.end()
        out.append((False, ""))
        return out

    def _next(self) -> tuple[bool, str]:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def requirements(self) -> list[Requirement]:
        out: list[Requirement] = []
        while True:
            is_word, text = self.tokens[self.at]
            if not is_word and text == "":
                return out
            if not is_word and text != "!":
                raise SelectorError(f"found '{text}', expected: !, identifier, or 'end of string'")
            try:
                out.append(self._requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from None
            is_word, text = self._next()
            if is_word or text not in ("", ","):
                raise SelectorError(f"found '{text}', expected: ',' or 'end of string'")
            if text == "":
                return out
            is_word, text = self.tokens[self.at]
            if not is_word and text != "!":
                raise SelectorError(f"found '{text}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        is_word, key = self._next()
        negated = not is_word and key == "!"
        if negated:
            is_word, key = self._next()
        if not is_word:
            raise SelectorError(f"found '{key}', expected: identifier")
        _check("<nil>", key, names.qualified_name(key))
        is_word, text = self.tokens[self.at]
        if negated or (not is_word and text in ("", ",")):
            return Requirement(key, "!" if negated else "exists")
        return self._binary(key)

    def _binary(self, key: str) -> Requirement:
        is_word, operator = self._next()
        if is_word and operator in ("in", "notin"):
            return _checked(Requirement(key, operator, self._values()))
        if is_word or operator not in ("=", "==", "!=", "<", ">"):
            raise SelectorError(f"found '{operator}', expected: {_BINARY}")
        value = self._exact()
        if operator in ("<", ">"):
            if not _INTEGER.fullmatch(value):
                why = "for 'Gt', 'Lt' operators, the value must be an integer"
                raise SelectorError(str(invalid_value("values[0]", value, why)))
            return _checked(Requirement(key, "gt" if operator == ">" else "lt", (value,)))
        return _checked(Requirement(key, "notin" if operator == "!=" else "in", (value,)))

    def _exact(self) -> str:
        is_word, text = self.tokens[self.at]
        if not is_word and text in ("", ","):
            return ""
        self.at += 1
        if not is_word:
            raise SelectorError(f"found '{text}', expected: identifier")
        return text

    def _values(self) -> tuple[str, ...]:
        is_word, text = self._next()
        if is_word or text != "(":
            raise SelectorError(f"found '{text}' expected: '('")
        values: set[str] = set()
        expecting = True  # a value may come; an empty one stands before and between commas
        while True:
            is_word, text = self._next()
            if is_word and expecting:
                values.add(text)
                expecting = False
            elif not is_word and text in (",", ")"):
                if expecting:
                    values.add("")
                if text == ")":
                    return tuple(sorted(values))
                expecting = True
            else:
                wanted = "',', or identifier" if expecting else "',' or ')'"
                raise SelectorError(f"found '{text}', expected: {wanted}")


def _checked(requirement: Requirement) -> Requirement:
    for i, value in enumerate(requirement.values):
        _check(f"values[{i}][{requirement.key}]", value, names.label_value(value))
    return requirement


def _check(field: str, text: str, wrong: tuple[str, ...]) -> None:
    if wrong:
        raise SelectorError(str(invalid_value(field, text, "; ".join(wrong))))


class FieldTerm(NamedTuple):
    field: str
    value: str
    equal: bool


class FieldSelector(NamedTuple):
    """All terms hold; a field that an object lacks is the empty string."""

    terms: tuple[FieldTerm, ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        return all((fields.get(term.field, "") == term.value) == term.equal for term in self.terms)

    def exact(self, field: str) -> str | None:
        """The value that a field must have, if a term says so."""
        return next((term.value for term in self.terms if term.equal and term.field == field), None)

    def __bool__(self) -> bool:
        return bool(self.terms)


def parse_fields(text: str) -> FieldSelector:
    """Read ``metadata.name=a,status.phase!=Running``; backslashes quote commas, equal signs and themselves.

    Raises
    ------
    SelectorError
        With upstream's text.
    """
    terms = []
    for part in sorted(_terms(text)):
        match = re.search("!=|==|=", part)
        if part and not match:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
        if match:
            terms.append(FieldTerm(part[: match.start()], _unescape(part[match.end() :]), match.group() != "!="))
    return FieldSelector(tuple(terms))


def _terms(text: str) -> list[str]:
    return re.findall(r"(?:\\.|[^,\\]|\\$)+", text, re.DOTALL)


def _unescape(text: str) -> str:
    out = []
    quoted = False
    for char in text:
        if quoted:
            if char not in "\\,=":
                raise SelectorError(f"invalid field selector: invalid escape sequence: \\{char}")
            out.append(char)
            quoted = False
        elif char == "\\":
            quoted = True
        elif char in ",=":
            raise SelectorError(f"invalid field selector: unescaped character in value: {ord(char)}")
        else:
            out.append(char)
    if quoted:
        raise SelectorError("invalid field selector: invalid escape sequence: \\")
    return "".join(out)


def of_object(selector: Mapping[str, Any]) -> LabelSelector:
    """The selector of an object's field (matchLabels, matchExpressions), already validated."""
    found = [Requirement(key, "in", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    operators = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
    found += [
        Requirement(item["key"], operators[item["operator"]], tuple(item.get("values") or ()))
        for item in selector.get("matchExpressions") or ()
    ]
    return LabelSelector(tuple(found))


def text(selector: Mapping[str, Any]) -> str:
    """The selector of an object's field as a query writes it."""
    parts = []
    for key, operator, values in sorted(of_object(selector).requirements):
        match operator:
            case "exists":
                parts.append(key)
            case "!":
                parts.append(f"!{key}")
            case "in" if len(values) == 1 and key in (selector.get("matchLabels") or {}):
                parts.append(f"{key}={values[0]}")
            case _:
                parts.append(f"{key} {operator} ({','.join(sorted(values))})")
    return ",".join(parts)


def validate_object(selector: Mapping[str, Any] | None, field: str) -> list[FieldError]:
    """What is wrong with the selector of an object's field."""
    out: list[FieldError] = []
    for key, value in ((selector or {}).get("matchLabels") or {}).items():
        out += [invalid_value(f"{field}.matchLabels", key, why) for why in names.qualified_name(key)]
        out += [invalid_value(f"{field}.matchLabels", value, why) for why in names.label_value(value)]
    for i, item in enumerate((selector or {}).get("matchExpressions") or ()):
        at = f"{field}.matchExpressions[{i}]"
        operator, values = item.get("operator", ""), item.get("values") or ()
        if operator in ("In", "NotIn"):
            if not values:
                why = "must be specified when `operator` is 'In' or 'NotIn'"
                out.append(status.required(f"{at}.values", why))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                out.append(status.forbidden_field(f"{at}.values", why))
        else:
            out.append(invalid_value(f"{at}.operator", operator, "not a valid selector operator"))
        key = item.get("key", "")
        out += [invalid_value(f"{at}.key", key, why) for why in names.qualified_name(key)]
        for j, value in enumerate(values):
            out += [invalid_value(f"{at}.values[{j}]", value, why) for why in names.label_value(value)]
    return out
