# SPDX-License-Identifier: Apache-2.0
"""Webhooks and policies of admission.

Source: pkg/apis/admissionregistration/v1/defaults.go, pkg/registry/admissionregistration, v1.36.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from kubesched.api import columns
from kubesched.api.columns import at
from kubesched.api.groups import policies, webhooks
from kubesched.api.strategy import STATUS, Object, Strategy, fill


def _default_webhook(webhook: Object) -> None:
    fill(webhook, "failurePolicy", "Fail")
    _default_match(webhook)
    fill(webhook, "timeoutSeconds", 10)
    _default_rules(webhook.get("rules") or ())
    service = at(webhook, "clientConfig", "service")
    if service is not None:
        fill(service, "port", 443)


def _default_match(match: Object) -> None:
    fill(match, "matchPolicy", "Equivalent")
    fill(match, "namespaceSelector", {})
    fill(match, "objectSelector", {})


def _default_rules(rules: Any) -> None:
    for rule in rules:
        fill(rule, "scope", "*")


def _default_validating(obj: Object) -> None:
    for webhook in obj.get("webhooks") or ():
        _default_webhook(webhook)


def _default_mutating(obj: Object) -> None:
    for webhook in obj.get("webhooks") or ():
        _default_webhook(webhook)
        fill(webhook, "reinvocationPolicy", "Never")


def _default_policy(obj: Object) -> None:
    spec: Object = obj.setdefault("spec", {})
    fill(spec, "failurePolicy", "Fail")
    match = spec.get("matchConstraints")
    if match is not None:
        _default_match(match)
        _default_rules([*(match.get("resourceRules") or ()), *(match.get("excludeResourceRules") or ())])


def _default_binding(obj: Object) -> None:
    match = at(obj, "spec", "matchResources")
    if match is not None:
        _default_match(match)
        _default_rules([*(match.get("resourceRules") or ()), *(match.get("excludeResourceRules") or ())])


def _param_kind(obj: Object) -> str:
    found = at(obj, "spec", "paramKind")
    return f"{found.get('apiVersion', '')}/{found.get('kind', '')}" if found else "<unset>"


def _param_ref(obj: Object) -> str:
    found = at(obj, "spec", "paramRef")
    if not found:
        return "<unset>"
    if found.get("name"):
        return f"{found.get('namespace') or '*'}/{found['name']}"
    return columns.selector(found.get("selector"))


_WEBHOOKS = (columns.name(), columns.count("Webhooks", "webhooks"), columns.age())
_MUTATING_BINDING = Strategy(
    validate=policies.mutating_binding,
    validate_update=lambda new, old: policies.mutating_binding(new),
    default=_default_binding,
    has_generation=True,
    unconditional_update=False,
    columns=(
        columns.name(),
        columns.text("PolicyName", "spec", "policyName"),
        columns.made("ParamRef", _param_ref),
        columns.age(),
    ),
)
_VALIDATING_BINDING = dataclasses.replace(
    _MUTATING_BINDING,
    validate=policies.validating_binding,
    validate_update=lambda new, old: policies.validating_binding(new),
)
STRATEGIES: dict[str, Strategy] = {
    "validatingwebhookconfigurations": Strategy(
        default=_default_validating,
        validate=webhooks.validate,
        validate_update=lambda new, old: webhooks.validate(new),
        has_generation=True,
        generation_of=("webhooks",),
        unconditional_update=False,
        columns=_WEBHOOKS,
    ),
    "mutatingwebhookconfigurations": Strategy(
        default=_default_mutating,
        validate=webhooks.validate,
        validate_update=lambda new, old: webhooks.validate(new),
        has_generation=True,
        generation_of=("webhooks",),
        unconditional_update=False,
        columns=_WEBHOOKS,
    ),
    "validatingadmissionpolicies": Strategy(
        default=_default_policy,
        validate=policies.validating,
        validate_update=lambda new, old: policies.validating(new),
        parts={"status": dataclasses.replace(STATUS, validate=policies.policy_status)},
        has_status=True,
        has_generation=True,
        unconditional_update=False,
        columns=(
            columns.name(),
            columns.count("Validations", "spec", "validations"),
            columns.made("ParamKind", _param_kind),
            columns.age(),
        ),
    ),
    "validatingadmissionpolicybindings": _VALIDATING_BINDING,
    "mutatingadmissionpolicies": Strategy(
        default=_default_policy,
        validate=policies.mutating,
        validate_update=lambda new, old: policies.mutating(new),
        has_generation=True,
        unconditional_update=False,
        columns=(
            columns.name(),
            columns.count("Mutations", "spec", "mutations"),
            columns.made("ParamKind", _param_kind),
            columns.age(),
        ),
    ),
    "mutatingadmissionpolicybindings": _MUTATING_BINDING,
}
"""By plural."""
