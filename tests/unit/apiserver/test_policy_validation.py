# SPDX-License-Identifier: Apache-2.0
"""Policies of admission and their bindings that upstream refuses, and its words for it.

The cases are those of upstream's own tests (pkg/apis/admissionregistration/validation, v1.36); the texts were worked
out from its source.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.apiserver.conftest import Server, refused, shown, taken
from tests.unit.apiserver.test_group_validation import PATHS, Fields, create, patch

RULE = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
MATCH = {"resourceRules": [RULE]}
BINDING = {"policyName": "p", "validationActions": ["Deny"]}
PATCH = {"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}


def policy(**spec: Any) -> Fields:
    return {"spec": {"matchConstraints": MATCH, "validations": [{"expression": "true"}], **spec}}


def mutating(**spec: Any) -> Fields:
    return {"spec": {"matchConstraints": MATCH, "mutations": [PATCH], "reinvocationPolicy": "Never", **spec}}


TAKEN = [
    ("ValidatingAdmissionPolicy", policy(paramKind={"apiVersion": "rules.io/v1", "kind": "Rule"})),
    (
        "ValidatingAdmissionPolicy",
        policy(
            variables=[{"name": "a", "expression": "1"}],
            validations=[],
            auditAnnotations=[{"key": "k", "valueExpression": "'v'"}],
        ),
    ),
    ("ValidatingAdmissionPolicyBinding", {"spec": BINDING}),
    (
        "ValidatingAdmissionPolicyBinding",
        {"spec": {**BINDING, "paramRef": {"name": "n", "parameterNotFoundAction": "Deny"}}},
    ),
    ("MutatingAdmissionPolicy", mutating(matchConditions=[{"name": "m", "expression": "true"}])),
    ("MutatingAdmissionPolicyBinding", {"spec": {"policyName": "p"}}),
]


@pytest.mark.parametrize(("kind", "fields"), TAKEN)
def test_taken(server: Server, kind: str, fields: Fields) -> None:
    taken(server, PATHS[kind], create(server, kind, fields))


REFUSED = [
    (
        "ValidatingAdmissionPolicy",
        {"spec": {"failurePolicy": "Maybe"}},
        [
            'spec.failurePolicy: Unsupported value: "Maybe": supported values: "Fail", "Ignore"',
            "spec.matchConstraints: Required value",
            "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
            "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
        ],
    ),
    (
        "ValidatingAdmissionPolicy",
        policy(
            paramKind={"apiVersion": "a/b/c", "kind": ""},
            matchConstraints={
                "matchPolicy": "Like",
                "excludeResourceRules": [{**RULE, "resourceNames": ["a/b", "c", "c"]}],
            },
            matchConditions=[{"name": "a", "expression": " "}, {"name": "a", "expression": "true"}],
            variables=[{"name": "if", "expression": "1"}, {"name": " ", "expression": ""}],
            validations=[
                {"expression": "", "message": " ", "reason": "Whim"},
                {"expression": "true", "message": "a\nb"},
            ],
            auditAnnotations=[{"key": "k", "valueExpression": ""}, {"key": "k", "valueExpression": "'v'"}],
        ),
        [
            'spec.paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c',
            "spec.paramKind.kind: Required value",
            'spec.matchConstraints.matchPolicy: Unsupported value: "Like": supported values: "Equivalent", "Exact"',
            'spec.matchConstraints.excludeResourceRules[0].resourceNames[0]: Invalid value: "a/b": may not contain '
            "'/'",
            'spec.matchConstraints.excludeResourceRules[0].resourceNames[2]: Duplicate value: "c"',
            "spec.matchConstraints.resourceRules: Required value",
            "spec.matchConditions[0].expression: Required value",
            'spec.matchConditions[1].name: Duplicate value: "a"',
            'spec.variables[0].name: Invalid value: "if": must be a valid CEL identifier',
            "spec.variables[1].name: Required value: name is not specified",
            "spec.variables[1].expression: Required value: expression is not specified",
            "spec.validations[0].expression: Required value: expression is not specified",
            'spec.validations[0].message: Invalid value: " ": must be non-empty if specified',
            'spec.validations[0].reason: Unsupported value: "Whim": supported values: "Forbidden", "Invalid", '
            '"RequestEntityTooLarge"',
            'spec.validations[1].message: Invalid value: "a\\nb": must not contain line breaks',
            "spec.auditAnnotations[0].valueExpression: Required value: valueExpression is not specified",
            'spec.auditAnnotations[1].key: Duplicate value: "k"',
        ],
    ),
    (
        "ValidatingAdmissionPolicyBinding",
        {"spec": {"validationActions": ["Deny", "Warn", "Warn", "Shout"], "paramRef": {"name": "n", "selector": {}}}},
        [
            "spec.policyName: Required value",
            "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
            "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
            "spec.paramRef.parameterNotFoundAction: Required value",
            'spec.validationActions[2]: Duplicate value: "Warn"',
            'spec.validationActions[3]: Unsupported value: "Shout": supported values: "Audit", "Deny", "Warn"',
            'spec.validationActions: Invalid value: ["Deny","Warn","Warn","Shout"]: must not contain both Deny and '
            "Warn (repeating the same validation failure information in the API response and headers serves no "
            "purpose)",
        ],
    ),
    (
        "ValidatingAdmissionPolicyBinding",
        {"spec": {"policyName": "p", "paramRef": {"parameterNotFoundAction": "Guess"}}},
        [
            "spec.paramRef: Required value: one of name or selector must be specified",
            'spec.paramRef.parameterNotFoundAction: Unsupported value: "Guess": supported values: "Deny", "Allow"',
            "spec.validationActions: Required value: at least one validation action is required",
        ],
    ),
    (
        "MutatingAdmissionPolicy",
        mutating(
            matchConstraints={"resourceRules": [{**RULE, "operations": ["DELETE"]}]},
            mutations=[
                {"patchType": "JSONPatch", "applyConfiguration": {"expression": "x"}},
                {"patchType": "Paint"},
                {},
            ],
            reinvocationPolicy="",
        ),
        [
            'spec.matchConstraints.resourceRules.operations: Unsupported value: "DELETE": supported values: "*", '
            '"CONNECT", "CREATE", "UPDATE"',
            "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch",
            'spec.mutations[0].applyConfiguration: Invalid value: "{applyConfiguration}": must not be specified when '
            "patchType is JSONPatch",
            'spec.mutations[1].patchType: Unsupported value: "Paint": supported values: "ApplyConfiguration", '
            '"JSONPatch"',
            "spec.mutations[2].patchType: Required value",
            "spec.reinvocationPolicy: Required value",
        ],
    ),
]


@pytest.mark.parametrize(("kind", "fields", "texts"), REFUSED)
def test_refused(server: Server, kind: str, fields: Fields, texts: list[str]) -> None:
    assert refused(create(server, kind, fields)) == shown(kind, *texts)


def test_what_was_found_out_about_a_policy(server: Server) -> None:
    kind = "ValidatingAdmissionPolicy"
    assert create(server, kind, policy()).status == 201
    answer = patch(server, kind, {"status": {"typeChecking": {"expressionWarnings": [{}]}}}, "/status")
    at = "status.typeChecking.expressionWarnings[0]"
    assert refused(answer) == shown(kind, f"{at}.warning: Required value", f"{at}.fieldRef: Required value")
