# SPDX-License-Identifier: Apache-2.0
"""Validation rules of custom resources: ``x-kubernetes-validations`` of a structural schema.

`check` says what is wrong with the rules of a schema, `Rules` what they say of an object. A tree of nodes follows the
schema down to where there are rules; programs are compiled once.

``self`` is untyped for the compiler; that a rule names a field which the schema has not is found by `fields`, other
mistakes about its types show at objects. Lists of the types set and map are compared in order. Cost is neither
estimated nor counted, and what upstream only warns of, because that part of the object did not change, is passed over.
Source: apiextensions-apiserver/pkg/apiserver/schema/cel and pkg/apis/apiextensions/validation, v1.36.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubesched.api import status
from kubesched.api.status import Cause, FieldError, invalid_shape, invalid_value
from kubesched.cel import fields, library, schemas
from kubesched.cel.schemas import Schema

RULES = "x-kubernetes-validations"
_LIST_TYPE = "x-kubernetes-list-type"
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_MAX_MESSAGE = 5 * 1024  # bytes of what a messageExpression gives
_UNSEEN = object()
"""There is no old value."""
_BLOCKING = frozenset({Cause.NOT_SUPPORTED, Cause.REQUIRED, Cause.TOO_LONG, Cause.TOO_MANY, Cause.TYPE_INVALID})
_NOT_CHECKED = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete "
    "validation"
)


_NO_OLD = re.compile(r"undeclared reference to 'oldSelf[.']")


class _RuleError(Exception):
    """An expression that cannot be compiled."""


# ---- expressions ----


@functools.cache
def _env(*names: str) -> Any:
    def variables(t: Any) -> dict[str, Any]:
        return {name: t.BOOL if name == _HAS_OLD else t.DYN for name in names}

    return library.environment(variables)


_OLD, _HAS_OLD = "oldSelfValue", "hasOldSelf"
_OPTIONAL = f"cel.bind(oldSelf, {_HAS_OLD} ? optional.of({_OLD}) : optional.none(), (%s\n))"
"""The library takes no optional values from Python: they are made inside."""


def _compiled(expression: str, *, optional: bool, wanted: str, before: str) -> tuple[Any, bool]:
    """The program of an expression, and whether it uses ``oldSelf``."""
    try:
        return _program(_env("self"), expression, wanted, before), False
    except _RuleError as error:
        if _NO_OLD.search(str(error)) is None:
            raise
    if not optional:
        return _program(_env("self", "oldSelf"), expression, wanted, before), True
    return _program(_env("self", _OLD, _HAS_OLD), _OPTIONAL % expression, wanted, before), True


def _program(env: Any, expression: str, wanted: str, before: str) -> Any:
    try:
        program = env.compile(expression)
    except RuntimeError as error:
        refused = library.refusal(str(error))
        if refused is not None:
            raise _RuleError(
                f"{before}compilation failed: {refused}, which is not implemented by this server"
            ) from None
        raise _RuleError(f"{before}compilation failed: {library.compile_text(str(error))}") from None
    if program.return_type().name() not in (wanted.upper(), "DYN"):
        subject = before.strip() or "cel expression"
        raise _RuleError(f"{subject} must evaluate to a {wanted}")
    return program


@dataclass(slots=True)
class _Rule:
    """One compiled rule."""

    text: str
    message: str
    reason: str
    path: str  # appended to that of the value
    optional: bool
    program: Any
    uses_old: bool
    told: Any = None  # program of the messageExpression

    @property
    def shown(self) -> str:
        return self.message or self.text

    def evaluate(self, program: Any, new: Any, old: Any) -> tuple[str, Any]:
        """The result's type, and the result."""
        data = {"self": new}
        if self.optional:
            data |= {_OLD: None if old is _UNSEEN else old, _HAS_OLD: old is not _UNSEEN}
        elif old is not _UNSEEN:
            data["oldSelf"] = old
        try:
            result = program.eval(data=data)
        except (RuntimeError, TypeError, ValueError, OverflowError) as error:  # a value that the library does not take
            return "ERROR", str(error)
        return result.type().name(), result.value()


def _rule(found: Mapping[str, Any], schema: Schema) -> _Rule:
    text, optional = found["rule"], bool(found.get("optionalOldSelf"))
    program, uses_old = _compiled(text, optional=optional, wanted="bool", before="")
    told = None
    if found.get("messageExpression"):
        expression = found["messageExpression"]
        told, _ = _compiled(expression, optional=optional, wanted="string", before="messageExpression ")
    path = found.get("fieldPath") or ""
    return _Rule(
        text.strip(),
        (found.get("message") or "").strip(),
        found.get("reason") or "",
        _normalized_path(path, schema) or "",
        optional,
        program,
        uses_old,
        told,
    )


# ---- what is wrong with rules ----


def check(schema: Schema, path: str) -> list[FieldError]:
    """What is wrong with the rules of a schema at a path: with their form, or, if that is right, their expressions."""
    formal = [error for at, inner, _ in _walk(schema, path, "") for error in _check_form(at, inner)]
    if formal:
        return formal
    return [
        error
        for at, inner, within in _walk(schema, path, "")
        for error in _check_expressions(at, inner, within, inner is schema)
    ]


def _walk(schema: Schema, path: str, within: str) -> Iterator[tuple[str, Schema, str]]:
    """All schemas in it, their paths, and the path of the list whose items have no counterpart in an old object."""
    yield path, schema, within
    for name, inner in (schema.get("properties") or {}).items():
        yield from _walk(inner, f"{path}.properties[{name}]", within)
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from _walk(schema["additionalProperties"], f"{path}.additionalProperties", within)
    if isinstance(schema.get("items"), Mapping):
        outside = within or ("" if schema.get(_LIST_TYPE) == "map" else path)
        yield from _walk(schema["items"], f"{path}.items", outside)


def _check_form(path: str, schema: Schema) -> Iterator[FieldError]:
    for i, rule in enumerate(schema.get(RULES) or ()):
        yield from _check_rule(f"{path}.{RULES}[{i}]", rule, schema)


def _check_rule(at: str, rule: Mapping[str, Any], schema: Schema) -> Iterator[FieldError]:
    text, message = rule.get("rule") or "", rule.get("message") or ""
    if not text.strip():
        yield status.required(f"{at}.rule", "rule is not specified")
    elif message and not message.strip():
        yield invalid_value(f"{at}.message", message, "must be non-empty if specified")
    elif "\n" in message.strip():
        yield invalid_value(f"{at}.message", message, "must not contain line breaks")
    elif "\n" in text.strip() and not message:
        yield status.required(f"{at}.message", "message must be specified if rule contains line breaks")
    expression = rule.get("messageExpression") or ""
    if expression and not expression.strip():
        yield status.required(f"{at}.messageExpression", "messageExpression must be non-empty if specified")
    if rule.get("reason") is not None and rule["reason"] not in _REASONS:
        yield status.not_supported(f"{at}.reason", rule["reason"], _REASONS)
    path = rule.get("fieldPath") or ""
    if path and not path.strip():
        yield invalid_value(f"{at}.fieldPath", path, "must be non-empty if specified")
    if "\n" in path:
        yield invalid_value(f"{at}.fieldPath", path, "must not contain line breaks")
    if path and _normalized_path(path, schema) is None:
        yield invalid_value(f"{at}.fieldPath", path, "must be a valid path")


def _check_expressions(path: str, schema: Schema, within: str, is_root: bool) -> Iterator[FieldError]:
    for i, rule in enumerate(schema.get(RULES) or ()):
        at = f"{path}.{RULES}[{i}]"
        if not schemas.is_seen(schema):
            yield invalid_value(f"{at}.rule", rule["rule"], "failed to convert to declType for CEL validation rules")
            continue
        expressions = f"{rule['rule']} {rule.get('messageExpression') or ''}"
        unknown = next(schemas.times_named_in(expressions, schema), None)
        if unknown is not None:
            why = f"rules about values of format {unknown} are not supported by this server"
            yield status.forbidden_field(f"{at}.rule", why)
            continue
        try:
            made = _rule(rule, schema)
        except _RuleError as error:
            name = "messageExpression" if str(error).startswith("messageExpression") else "rule"
            yield invalid_value(f"{at}.{name}", dict(rule), str(error))
            continue
        missing = _undefined(rule, schema, is_root)
        if missing is not None:
            yield missing._replace(field=f"{at}.{missing.field}")
            continue
        if made.uses_old and within:
            why = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {within}"
            yield invalid_value(f"{at}.rule", rule["rule"], why)
        elif not made.uses_old and rule.get("optionalOldSelf") is not None:
            why = "may not be set if oldSelf is not used in rule"
            yield invalid_value(f"{at}.optionalOldSelf", rule["optionalOldSelf"], why)


def _undefined(rule: Mapping[str, Any], schema: Schema, is_root: bool) -> FieldError | None:
    """That an expression of a rule, which can be compiled, names a field that is not there; the field is relative."""
    this = fields.Seen(schema, is_root)
    scope = {"self": this, "oldSelf": this._replace(optional=bool(rule.get("optionalOldSelf")))}
    for name, before in (("rule", ""), ("messageExpression", "messageExpression ")):
        if text := rule.get(name):
            compiled = _env("self", "oldSelf").compile(text).serialize()
            if (wrong := fields.undefined(compiled, text, scope)) is not None:
                return invalid_value(name, dict(rule), f"{before}compilation failed: {wrong}")
    return None


_STEP = re.compile(r"\.(?P<plain>[^.\[\]]+)|\['(?P<quoted>(?:[^'\\]|\\.)*)'\]")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", "\\": "\\"}


def _normalized_path(path: str, schema: Schema) -> str | None:
    """A rule's fieldPath as errors show it; None: it leads nowhere."""
    out, at = "", 0
    found: Any = schema
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None or not isinstance(found, Mapping):
            return None
        name = step["plain"] if step["quoted"] is None else _unescaped(step["quoted"])
        if found.get("properties") is not None:
            found = found["properties"].get(name) if name is not None else None
            out += f".{name}" if out else f"{name}"
        elif name is not None:
            found = found.get("additionalProperties")
            out += f"[{name}]"
        if not isinstance(found, Mapping):
            return None
        at = step.end()
    return out


def _unescaped(text: str) -> str | None:
    if any(escape[1] not in _ESCAPES for escape in re.findall(r"\\.", text)):
        return None
    return re.sub(r"\\(.)", lambda match: _ESCAPES[match[1]], text)


# ---- what rules say of an object ----


@dataclass(slots=True)
class _Node:
    """A part of a schema that has rules, itself or below."""

    schema: Schema
    resource: bool
    rules: list[_Rule] = field(default_factory=list)
    properties: dict[str, _Node] = field(default_factory=dict)
    items: _Node | None = None
    values: _Node | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.rules or self.properties or self.items or self.values)


def _node(schema: Schema, *, resource: bool = False) -> _Node | None:
    out = _Node(schema, resource)
    if schemas.is_seen(schema):
        out.rules = [_rule(rule, schema) for rule in schema.get(RULES) or ()]
    for name, inner in (schema.get("properties") or {}).items():
        below = _node(inner)
        if below is not None:
            out.properties[name] = below
    if isinstance(schema.get("additionalProperties"), Mapping):
        out.values = _node(schema["additionalProperties"])
    if isinstance(schema.get("items"), Mapping):
        out.items = _node(schema["items"])
    return None if out.is_empty else out


@dataclass(frozen=True, slots=True)
class _Old:
    """The old value of a place, or (not ``is_known``) that there is no telling; whether something above is the same."""

    value: Any = _UNSEEN
    is_known: bool = False
    is_same_above: bool = False


class Rules:
    """The rules of one version of a custom resource.

    Parameters
    ----------
    schema
        One whose rules `check` found right.
    """

    def __init__(self, schema: Schema) -> None:
        self._root = _node(schema, resource=True)

    def validate(self, new: Any, old: Any | None, found: list[FieldError]) -> list[FieldError]:
        """What rules say of an object that replaces ``old`` (None: it is created).

        They are not asked where what the schema found wrong, ``found``, would mislead them.
        """
        if self._root is None:
            return []
        if any(error.cause in _BLOCKING for error in found):
            return [invalid_shape("<nil>", _NOT_CHECKED)]
        before = _Old() if old is None else _Old(old, True)
        return list(_validate(self._root, new, before, ""))


def _validate(node: _Node, new: Any, old: _Old, path: str) -> Iterator[FieldError]:
    if new is None:
        return
    yield from _apply(node, new, old, path)
    same = old.is_same_above or (old.is_known and old.value == new)
    if isinstance(new, list) and node.items is not None:
        for i, item in enumerate(new):
            before = _old_item(node.schema, item, old, same)
            yield from _validate(node.items, item, before, f"{path}[{i}]")
    elif isinstance(new, dict):
        held = old.value if isinstance(old.value, dict) else {}
        for name, item in new.items():
            before = _Old(held.get(name, _UNSEEN), old.is_known, same)
            if node.values is not None:
                yield from _validate(node.values, item, before, f"{path}[{name}]")
            elif name in node.properties:
                yield from _validate(node.properties[name], item, before, f"{path}.{name}" if path else name)


def _old_item(schema: Schema, item: Any, old: _Old, same: bool) -> _Old:
    """The item of the same keys in an old list of the type map."""
    if schema.get(_LIST_TYPE) != "map" or not old.is_known:
        return _Old(is_same_above=same)
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    items = old.value if isinstance(old.value, list) else []
    alike = (one for one in items if all(one.get(key) == item.get(key) for key in keys))
    return _Old(next(alike, _UNSEEN), True, same)


def _apply(node: _Node, new: Any, old: _Old, path: str) -> Iterator[FieldError]:
    if not node.rules:
        return
    schema, at = node.schema, path or "<nil>"
    kind = schema.get("type", "")
    seen = schemas.value(new, schema, resource=node.resource)
    before = old.value
    if before is None:
        before = _UNSEEN
    elif before is not _UNSEEN:
        before = schemas.value(before, schema, resource=node.resource)
    unchanged = old.is_same_above or (old.is_known and old.value == new)
    for rule in node.rules:
        if rule.uses_old and before is _UNSEEN and not rule.optional:
            continue  # there is nothing to compare with
        result, said = rule.evaluate(rule.program, seen, before)
        if result == "BOOL" and said:
            continue
        if result != "BOOL":
            yield invalid_value(at, kind, _failure(result, str(said), rule))
        elif rule.uses_old or not unchanged:
            where = f"{path}.{rule.path}".lstrip(".") if rule.path else at
            yield _violation(where, rule, new, kind, _message(rule, seen, before))


def _failure(result: str, said: str, rule: _Rule) -> str:
    if result != "ERROR":
        return f"no such overload evaluating rule: {rule.shown}"
    text = library.error_text(said)
    if text == "no such overload":
        what = "call arguments did not match a supported operator, function or macro signature for rule"
        return f"'{text}': {what}: {rule.shown}"
    return f"{text} evaluating rule: {rule.shown}"


def _message(rule: _Rule, new: Any, old: Any) -> str:
    """What a violation says: the messageExpression's text if there is a good one."""
    plain = rule.message or f"failed rule: {rule.text}"
    if rule.told is None:
        return plain
    result, said = rule.evaluate(rule.told, new, old)
    if result != "STRING":
        return plain
    text = said.strip()
    return text if text and "\n" not in text and len(text.encode()) <= _MAX_MESSAGE else plain


def _violation(field: str, rule: _Rule, value: Any, kind: str, detail: str) -> FieldError:
    match rule.reason:
        case "FieldValueForbidden":
            return status.forbidden_field(field, detail)
        case "FieldValueRequired":
            return status.required(field, detail)
        case "FieldValueDuplicate":
            return FieldError(Cause.DUPLICATE, field) if kind in ("object", "array") else status.duplicate(field, value)
    return invalid_shape(field, detail) if kind in ("object", "array") else invalid_value(field, value, detail)
