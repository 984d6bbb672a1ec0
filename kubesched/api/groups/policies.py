# SPDX-License-Identifier: Apache-2.0
"""What is wrong with policies of admission and their bindings; expressions are not compiled.

Source: pkg/apis/admissionregistration/validation/validation.go, v1.36.
"""

from __future__ import annotations

import re

from kubesched.api import checks, gotext, names, status
from kubesched.api.checks import Errors
from kubesched.api.groups import webhooks
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_PATCHES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
_ACTIONS = ("Audit", "Deny", "Warn")
_MUTATED = ("*", "CONNECT", "CREATE", "UPDATE")
_MAX_ANNOTATIONS = 20
_MAX_EXPRESSION = 5 * 1024
_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_RESERVED = frozenset(
    (
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import"),
        *("let", "loop", "package", "namespace", "return", "var", "void", "while"),
    )
)
_ANNOTATION = gotext.Struct({"Key": "", "ValueExpression": ""})
_BOTH = "name and selector are mutually exclusive"


# ---- policies ----


def validating(obj: Object) -> list[FieldError]:
    out: Errors = []
    spec = obj.get("spec") or {}
    _policy(spec, out)
    _variables(spec, out)
    validations, annotations = spec.get("validations") or [], spec.get("auditAnnotations") or []
    if not validations and not annotations:
        why = "validations or auditAnnotations must contain at least one item"
        out += [status.required(f"spec.{name}", why) for name in ("validations", "auditAnnotations")]
    for i, validation in enumerate(validations):
        _validation(validation, f"spec.validations[{i}]", out)
    _annotations(annotations, obj["metadata"].get("name") or "", "spec.auditAnnotations", out)
    return out


def mutating(obj: Object) -> list[FieldError]:
    out: Errors = []
    spec = obj.get("spec") or {}
    _policy(spec, out, mutates=True)
    _variables(spec, out)
    mutations = spec.get("mutations") or []
    if not mutations:
        out.append(status.required("spec.mutations", "mutations must contain at least one item"))
    for i, mutation in enumerate(mutations):
        _mutation(mutation, f"spec.mutations[{i}]", out)
    checks.choice(spec.get("reinvocationPolicy"), "spec.reinvocationPolicy", webhooks.REINVOCATIONS, out)
    return out


def _policy(spec: Object, out: Errors, *, mutates: bool = False) -> None:
    """What both kinds begin with."""
    checks.choice(spec.get("failurePolicy"), "spec.failurePolicy", webhooks.FAILURES, out)
    if spec.get("paramKind") is not None:
        _kind(spec["paramKind"], "spec.paramKind", out)
    match = spec.get("matchConstraints")
    if match is None:
        out.append(status.required("spec.matchConstraints"))
    else:
        _match(match, "spec.matchConstraints", out)
        if not match.get("resourceRules"):
            out.append(status.required("spec.matchConstraints.resourceRules"))
        if mutates:
            _not_deleted(match, "spec.matchConstraints", out)
    webhooks.match_conditions(spec.get("matchConditions") or [], "spec.matchConditions", out)


def _kind(kind: Object, at: str, out: Errors) -> None:
    version, name = kind.get("apiVersion") or "", kind.get("kind") or ""
    if not version:
        out.append(status.required(f"{at}.apiVersion"))
    elif version.count("/") > 1:
        out.append(invalid_value(f"{at}.apiVersion", version, f"unexpected GroupVersion string: {version}"))
    else:
        group, _, number = version.rpartition("/")
        if wrong := group and names.subdomain(group):
            out.append(invalid_value(f"{at}.apiVersion", group, ",".join(wrong)))
        if not number:
            out.append(invalid_value(f"{at}.apiVersion", version, "version must be specified"))
        elif wrong := names.dns_1035_label(number):
            out.append(invalid_value(f"{at}.apiVersion", number, ",".join(wrong)))
    if not name:
        out.append(status.required(f"{at}.kind"))
    elif wrong := names.dns_1035_label(name.lower()):
        why = f"may have mixed case, but should otherwise match: {','.join(wrong)}"
        out.append(invalid_value(f"{at}.kind", name, why))


def _match(match: Object, at: str, out: Errors) -> None:
    checks.choice(match.get("matchPolicy"), f"{at}.matchPolicy", webhooks.MATCHES, out)
    for name in ("namespaceSelector", "objectSelector"):
        if match.get(name) is None:
            out.append(status.required(f"{at}.{name}"))
        checks.selector(match.get(name), f"{at}.{name}", out)
    for name in ("resourceRules", "excludeResourceRules"):
        for i, rule in enumerate(match.get(name) or ()):
            _named_rule(rule, f"{at}.{name}[{i}]", out)


def _named_rule(rule: Object, at: str, out: Errors) -> None:
    found = rule.get("resourceNames") or []
    again = checks.repeated(found)
    for i, name in enumerate(found):
        checks.by(names.path_segment, name, f"{at}.resourceNames[{i}]", out)
        if i in again:
            out.append(status.duplicate(f"{at}.resourceNames[{i}]", name))
    webhooks.check_rule(rule, at, out)


def _not_deleted(match: Object, at: str, out: Errors) -> None:
    for rule in match.get("resourceRules") or ():
        for operation in rule.get("operations") or ():
            checks.option(operation, f"{at}.resourceRules.operations", _MUTATED, out)


def _blank(text: str | None) -> bool:
    return not (text or "").strip()


def _variables(spec: Object, out: Errors) -> None:
    for i, variable in enumerate(spec.get("variables") or ()):
        at, name = f"spec.variables[{i}]", variable.get("name") or ""
        if _blank(name):
            out.append(status.required(f"{at}.name", "name is not specified"))
        elif not _IDENTIFIER.fullmatch(name) or name in _RESERVED:
            out.append(invalid_value(f"{at}.name", name, "must be a valid CEL identifier"))
        if _blank(variable.get("expression")):
            out.append(status.required(f"{at}.expression", "expression is not specified"))


def _validation(validation: Object, at: str, out: Errors) -> None:
    if _blank(validation.get("expression")):
        out.append(status.required(f"{at}.expression", "expression is not specified"))
    for name in ("messageExpression", "message"):
        text = validation.get(name) or ""
        if text and _blank(text):
            out.append(invalid_value(f"{at}.{name}", text, "must be non-empty if specified"))
        elif name == "message" and re.search(r"[\n\r]", text.strip()):
            out.append(invalid_value(f"{at}.{name}", text, "must not contain line breaks"))
    checks.option(validation.get("reason"), f"{at}.reason", _REASONS, out)


def _annotations(annotations: list[Object], policy: str, field: str, out: Errors) -> None:
    if len(annotations) > _MAX_ANNOTATIONS:
        shown = [_ANNOTATION.show(item) for item in annotations]
        out.append(invalid_value(field, shown, f"must not have more than {_MAX_ANNOTATIONS} auditAnnotations"))
    seen: set[str] = set()
    for i, annotation in enumerate(annotations):
        at, key, expression = f"{field}[{i}]", annotation.get("key") or "", annotation.get("valueExpression") or ""
        if policy:
            checks.by(names.qualified_name, f"{policy}/{key}", f"{at}.key", out)
        else:
            out.append(invalid_value(f"{at}.key", key, "requires metadata.name be non-empty"))
        if _blank(expression):
            out.append(status.required(f"{at}.valueExpression", "valueExpression is not specified"))
        elif len(expression.strip().encode()) > _MAX_EXPRESSION:
            why = f"must not exceed {_MAX_EXPRESSION} bytes in length"
            out.append(status.required(f"{at}.valueExpression", why))
        if key in seen:
            out.append(status.duplicate(f"{at}.key", key))
        seen.add(key)


def _mutation(mutation: Object, at: str, out: Errors) -> None:
    kind = mutation.get("patchType") or ""
    if kind not in _PATCHES:
        checks.choice(kind, f"{at}.patchType", tuple(_PATCHES), out)
        return
    own = _PATCHES[kind]
    if mutation.get(own) is None:
        out.append(status.required(f"{at}.{own}", f"must be specified when patchType is {kind}"))
    elif _blank(mutation[own].get("expression")):
        out.append(status.required(f"{at}.{own}.expression"))
    for other in _PATCHES.values():
        if other != own and mutation.get(other) is not None:
            why = f"must not be specified when patchType is {kind}"
            out.append(invalid_value(f"{at}.{other}", f"{{{other}}}", why))


# ---- what the server tells of a policy ----


def policy_status(new: Object, old: Object) -> list[FieldError]:
    """References to fields are not parsed."""
    out: Errors = []
    found = new.get("status") or {}
    for i, warning in enumerate((found.get("typeChecking") or {}).get("expressionWarnings") or ()):
        at = f"status.typeChecking.expressionWarnings[{i}]"
        checks.needed(warning, ("warning",), at, out)
        if _blank(warning.get("fieldRef")):
            out.append(status.required(f"{at}.fieldRef"))
    checks.conditions(found.get("conditions") or [], "status.conditions", out)
    return out


# ---- bindings ----


def _binding(obj: Object) -> list[FieldError]:
    """What both kinds have."""
    out: Errors = []
    spec = obj.get("spec") or {}
    checks.named(names.subdomain, spec, "policyName", "spec", out)
    if spec.get("paramRef") is not None:
        _parameters(spec["paramRef"], "spec.paramRef", out)
    if spec.get("matchResources") is not None:
        _match(spec["matchResources"], "spec.matchResources", out)
    return out


def mutating_binding(obj: Object) -> list[FieldError]:
    out = _binding(obj)
    _not_deleted((obj.get("spec") or {}).get("matchResources") or {}, "spec.matchResources", out)
    return out


def validating_binding(obj: Object) -> list[FieldError]:
    out = _binding(obj)
    field, actions = "spec.validationActions", (obj.get("spec") or {}).get("validationActions") or []
    again = checks.repeated(actions)
    for i, action in enumerate(actions):
        checks.option(action, f"{field}[{i}]", _ACTIONS, out)
        if i in again:
            out.append(status.duplicate(f"{field}[{i}]", action))
    if {"Deny", "Warn"} <= set(actions):
        why = "must not contain both Deny and Warn (repeating the same validation failure information in the API "
        out.append(invalid_value(field, actions, f"{why}response and headers serves no purpose)"))
    if not actions:
        out.append(status.required(field, "at least one validation action is required"))
    return out


def _parameters(found: Object, at: str, out: Errors) -> None:
    name, selector = found.get("name") or "", found.get("selector")
    checks.by(names.path_segment, name, f"{at}.name", out)
    if name and selector is not None:
        out.append(status.forbidden_field(f"{at}.name", _BOTH))
    checks.selector(selector, f"{at}.selector", out)
    if name and selector is not None:
        out.append(status.forbidden_field(f"{at}.selector", _BOTH))
    if not name and selector is None:
        out.append(status.required(at, "one of name or selector must be specified"))
    checks.choice(found.get("parameterNotFoundAction"), f"{at}.parameterNotFoundAction", ("Deny", "Allow"), out)
