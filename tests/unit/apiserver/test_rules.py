# SPDX-License-Identifier: Apache-2.0
"""Validation rules of custom resources: what upstream documents of them, worked out by hand.

The documented semantics: kubernetes.io, "Validation rules" of custom resources; the texts: apiextensions-apiserver's
schema/cel/validation.go and apis/apiextensions/validation, v1.36.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.apiserver.conftest import Answer, Server

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
THINGS = "/apis/example.com/v1/namespaces/default/things"
SCHEMA = "spec.versions[0].schema.openAPIV3Schema"
Obj = dict[str, Any]


def rules(*found: Obj | str) -> list[Obj]:
    return [{"rule": one} if isinstance(one, str) else one for one in found]


def obj(rules_: list[Obj] | None = None, **properties: Obj) -> Obj:
    """The schema of an object."""
    return {"type": "object", "properties": properties, **({"x-kubernetes-validations": rules_} if rules_ else {})}


INT: Obj = {"type": "integer"}
TEXT: Obj = {"type": "string"}


def define(server: Server, spec: Obj, *root: Obj | str, status: Obj | None = None) -> Answer:
    """Define things whose spec has this schema; ``root``: rules of the whole object."""
    properties = {"spec": spec, **({"status": status} if status else {})}
    schema = obj(rules(*root), **properties)
    version: Obj = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    if status:
        version["subresources"] = {"status": {}}
    names = {"plural": "things", "kind": "Thing"}
    wanted = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    if not hasattr(server, "started"):
        server.run(server.app.start())
        server.started = True  # type: ignore[attr-defined]
    return server.ask("POST", DEFINITIONS, {"metadata": {"name": "things.example.com"}, "spec": wanted})


def thing(spec: Obj, name: str = "x", **rest: Obj) -> Obj:
    return {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": name}, "spec": spec, **rest}


def create(server: Server, spec: Obj, name: str = "x") -> Answer:
    return server.ask("POST", THINGS, thing(spec, name))


def told(answer: Answer) -> list[tuple[str, str, str]]:
    """Field, reason and text of each cause of a 422."""
    assert answer.status == 422, answer.body
    return [(cause["field"], cause["reason"], cause["message"]) for cause in answer.body["details"]["causes"]]


def taken(answer: Answer) -> bool:
    assert answer.status in (200, 201, 422), answer.body
    return answer.status != 422


# ---- rules on new objects ----


def test_rule_when_broken_then_the_value_is_invalid(server: Server) -> None:
    spec = obj(rules("self.min <= self.max"), min=INT, max=INT)
    assert define(server, spec).status == 201
    assert taken(create(server, {"min": 1, "max": 2}))
    assert told(create(server, {"min": 3, "max": 2}, "y")) == [
        ("spec", "FieldValueInvalid", "Invalid value: failed rule: self.min <= self.max")
    ]


def test_rule_of_a_scalar_then_its_value_is_shown(server: Server) -> None:
    count = {**INT, "x-kubernetes-validations": rules({"rule": "self % 2 == 0", "message": " must be even "})}
    define(server, obj(n=count))
    assert taken(create(server, {"n": 4}))
    assert told(create(server, {"n": 5}, "y")) == [("spec.n", "FieldValueInvalid", "Invalid value: 5: must be even")]
    assert taken(create(server, {}, "z")), "what is not there is not judged"


def test_rule_of_the_root_sees_the_name_and_kind(server: Server) -> None:
    define(server, obj(n=INT), "self.metadata.name.startsWith('a') && self.kind == 'Thing'")
    assert taken(create(server, {}, "abc"))
    assert told(create(server, {}, "b"))[0][:2] == ("<nil>", "FieldValueInvalid")


def test_rule_of_the_root_sees_no_more_of_the_metadata(server: Server) -> None:
    found = told(define(server, obj(n=INT), "has(self.metadata.labels)"))
    assert found[0][0] == f"{SCHEMA}.x-kubernetes-validations[0].rule"
    assert "undefined field 'labels'" in found[0][2]


REASONS = [
    ("FieldValueInvalid", "Invalid value: 1: wrong"),
    ("FieldValueForbidden", "Forbidden: wrong"),
    ("FieldValueRequired", "Required value: wrong"),
    ("FieldValueDuplicate", "Duplicate value: 1"),
]


@pytest.mark.parametrize(("reason", "text"), REASONS)
def test_reasons(server: Server, reason: str, text: str) -> None:
    count = {**INT, "x-kubernetes-validations": rules({"rule": "self > 1", "message": "wrong", "reason": reason})}
    define(server, obj(n=count))
    assert told(create(server, {"n": 1})) == [("spec.n", reason, text)]


def test_field_path_then_the_error_is_there(server: Server) -> None:
    inner = obj(None, **{"a.b": INT})
    spec = obj(
        rules(
            {
                "rule": "!has(self.inner)",
                "fieldPath": ".inner['a.b']",
                "message": "not wanted",
                "reason": "FieldValueForbidden",
            }
        ),
        inner=inner,
    )
    assert define(server, spec).status == 201
    assert told(create(server, {"inner": {}})) == [("spec.inner.a.b", "FieldValueForbidden", "Forbidden: not wanted")]


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("'n is ' + string(self.n)", "n is 7"),
        ("'  spaced  '", "spaced"),
        ("''", "plain"),
        ("'two\\nlines'", "plain"),
        ("self.absent", "plain"),
        ("'x' + string(1 / (self.n - 7))", "plain"),
    ],
)
def test_message_expression_then_its_text_or_the_message(server: Server, expression: str, text: str) -> None:
    rule = {"rule": "self.n < 5", "message": "plain", "messageExpression": expression}
    define(server, obj(rules(rule), n=INT, absent=TEXT))
    assert told(create(server, {"n": 7})) == [("spec", "FieldValueInvalid", f"Invalid value: {text}")]


ERRORS = [
    ("self.absent == 1", "no such key: absent evaluating rule: self.absent == 1"),
    ("self.list[3] == 1", "index out of bounds: 3 evaluating rule: self.list[3] == 1"),
    ("1 / self.zero == 1", "division by zero evaluating rule: 1 / self.zero == 1"),
    (
        "self.either.startsWith('a')",
        "'no such overload': call arguments did not match a supported operator, function or macro signature for rule: "
        "self.either.startsWith('a')",
    ),
]


@pytest.mark.parametrize(("rule", "text"), ERRORS)
def test_rule_when_it_fails_then_so_it_is_said(server: Server, rule: str, text: str) -> None:
    either = {"x-kubernetes-int-or-string": True}
    spec = obj(rules(rule), absent=INT, list={"type": "array", "items": INT}, zero=INT, either=either)
    assert define(server, spec).status == 201
    assert told(create(server, {"list": [1], "zero": 0, "either": 5})) == [
        ("spec", "FieldValueInvalid", f'Invalid value: "object": {text}')
    ]


def test_places_of_errors_in_lists_and_maps(server: Server) -> None:
    small = {**INT, "x-kubernetes-validations": rules({"rule": "self < 5", "message": "too large"})}
    spec = obj(
        None,
        list={"type": "array", "items": obj(None, n=small)},
        map={"type": "object", "additionalProperties": small},
    )
    define(server, spec)
    found = told(create(server, {"list": [{"n": 1}, {"n": 5}], "map": {"a": 1, "b": 9}}))
    assert found == [
        ("spec.list[1].n", "FieldValueInvalid", "Invalid value: 5: too large"),
        ("spec.map[b]", "FieldValueInvalid", "Invalid value: 9: too large"),
    ]


def test_values_are_those_of_their_schema(server: Server) -> None:
    """Numbers are doubles, bytes are bytes, names that are no identifiers are escaped, unknown fields are not seen."""
    spec = obj(
        rules(
            "type(self.number) == double && type(self.integer) == int",
            "self.bytes == b'hi'",
            "self.__namespace__ == 'n' && self.a__dash__b == 'd' && self.c__dot__d == 'e'",
            "type(self.either) == string || self.either > 1",
            "self.list.all(x, x.startsWith('a')) && self.map.exists(k, self.map[k] == 2)",
            "quantity(self.amount).isLessThan(quantity('1Gi'))",
            "self.list.isSorted() && self.list.join('-') == 'a-ab'",
        ),
        number={"type": "number"},
        integer=INT,
        bytes={**TEXT, "format": "byte"},
        namespace=TEXT,
        kept={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        either={"x-kubernetes-int-or-string": True},
        list={"type": "array", "items": TEXT},
        map={"type": "object", "additionalProperties": INT},
        amount=TEXT,
        **{"a-b": TEXT, "c.d": TEXT},
    )
    assert define(server, spec).status == 201
    value = {
        "number": 5,
        "integer": 5,
        "bytes": "aGk=",
        "namespace": "n",
        "a-b": "d",
        "c.d": "e",
        "kept": {"unknown": 1},
    }
    value |= {"either": 2, "list": ["a", "ab"], "map": {"x": 2}, "amount": "500Mi"}
    made = create(server, value)
    assert made.status == 201, made.body


def test_rules_are_not_asked_where_the_schema_is_broken(server: Server) -> None:
    define(server, obj(rules("self.n > 1"), n=INT))
    assert told(create(server, {"n": "one"})) == [
        (
            "spec.n",
            "FieldValueTypeInvalid",
            'Invalid value: "string": spec.n in body must be of type integer: "string"',
        ),
        (
            "<nil>",
            "FieldValueInvalid",
            "Invalid value: some validation rules were not checked because the object was invalid; correct the "
            "existing errors to complete validation",
        ),
    ]


# ---- rules on changes ----


def change(server: Server, spec: Obj, name: str = "x") -> Answer:
    live = server.ask("GET", f"{THINGS}/{name}").body
    return server.ask("PUT", f"{THINGS}/{name}", {**live, "spec": spec})


def test_transition_rule_then_asked_of_changes_only(server: Server) -> None:
    fixed = {**TEXT, "x-kubernetes-validations": rules({"rule": "self == oldSelf", "message": "is immutable"})}
    define(server, obj(None, a=fixed, b=INT))
    assert taken(create(server, {"b": 1}))
    assert taken(change(server, {"a": "one", "b": 1})), "there was none before"
    assert taken(change(server, {"a": "one", "b": 2}))
    assert told(change(server, {"a": "two", "b": 2})) == [
        ("spec.a", "FieldValueInvalid", 'Invalid value: "two": is immutable')
    ]
    assert taken(change(server, {"b": 2})), "a rule of a field that goes is not asked"


def test_transition_rule_in_a_list_of_type_map_follows_the_keys(server: Server) -> None:
    item = obj(rules({"rule": "self.size >= oldSelf.size", "message": "may not shrink"}), name=TEXT, size=INT)
    disks = {"type": "array", "items": {**item, "required": ["name"]}}
    disks |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    assert define(server, obj(None, disks=disks)).status == 201
    a, b = {"name": "a", "size": 5}, {"name": "b", "size": 9}
    assert taken(create(server, {"disks": [a, b]}))
    assert taken(change(server, {"disks": [b, {"name": "c", "size": 1}, {**a, "size": 6}]}))
    assert told(change(server, {"disks": [{**b, "size": 8}]})) == [
        ("spec.disks[0]", "FieldValueInvalid", "Invalid value: may not shrink")
    ]


def test_optional_old_self_is_asked_of_new_objects_too(server: Server) -> None:
    rule = {"rule": "oldSelf.hasValue() || self.n == 0", "message": "begins at 0", "optionalOldSelf": True}
    steps = {"rule": "oldSelf.optMap(o, self.n >= o.n).orValue(true)", "message": "only grows", "optionalOldSelf": True}
    assert define(server, obj(rules(rule, steps), n=INT)).status == 201
    assert told(create(server, {"n": 1}))[0][2] == "Invalid value: begins at 0"
    assert taken(create(server, {"n": 0}))
    assert taken(change(server, {"n": 5}))
    assert told(change(server, {"n": 4}))[0][2] == "Invalid value: only grows"


def test_rule_when_the_value_did_not_change_then_it_may_stay_broken(server: Server) -> None:
    """Ratcheting: a rule that came later does not keep the rest of an object from changing."""
    spec = obj(None, n=INT, m=INT)
    define(server, spec)
    create(server, {"n": 9, "m": 1})
    definition = server.ask("GET", f"{DEFINITIONS}/things.example.com").body
    properties = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    properties["n"]["x-kubernetes-validations"] = rules({"rule": "self < 5", "message": "too large"})
    assert server.ask("PUT", f"{DEFINITIONS}/things.example.com", definition).status == 200
    assert taken(change(server, {"n": 9, "m": 2}))
    assert told(change(server, {"n": 8, "m": 2})) == [("spec.n", "FieldValueInvalid", "Invalid value: 8: too large")]


def test_status_is_judged_by_the_rules_of_the_whole(server: Server) -> None:
    define(
        server,
        obj(None, n=INT),
        {"rule": "self.status.done <= self.spec.n", "message": "too many"},
        status=obj(None, done=INT),
    )
    made = server.ask("POST", THINGS, thing({"n": 3}))
    assert told(made)[0][2] == 'Invalid value: "object": no such key: status evaluating rule: too many'


def test_status_when_written_then_judged(server: Server) -> None:
    rule = {"rule": "!has(self.status) || self.status.done <= self.spec.n", "message": "too many"}
    define(server, obj(None, n=INT), rule, status=obj(None, done=INT))
    assert taken(create(server, {"n": 3}))
    assert taken(server.merge(f"{THINGS}/x/status", {"status": {"done": 3}}))
    assert told(server.merge(f"{THINGS}/x/status", {"status": {"done": 4}})) == [
        ("<nil>", "FieldValueInvalid", "Invalid value: too many")
    ]
    assert told(server.merge(f"{THINGS}/x/status", {"status": {"done": "x"}}))[0][0] == "status.done"


# ---- what is wrong with rules ----

FORMS = [
    ({"rule": " "}, "rule", "FieldValueRequired", "rule is not specified"),
    ({"rule": "true", "message": " "}, "message", "FieldValueInvalid", "must be non-empty if specified"),
    ({"rule": "true", "message": "a\nb"}, "message", "FieldValueInvalid", "must not contain line breaks"),
    (
        {"rule": "true ||\nfalse"},
        "message",
        "FieldValueRequired",
        "message must be specified if rule contains line breaks",
    ),
    (
        {"rule": "true", "messageExpression": " "},
        "messageExpression",
        "FieldValueRequired",
        "must be non-empty if specified",
    ),
    ({"rule": "true", "reason": "Because"}, "reason", "FieldValueNotSupported", 'Unsupported value: "Because"'),
    ({"rule": "true", "fieldPath": ".b"}, "fieldPath", "FieldValueInvalid", "must be a valid path"),
    ({"rule": "true", "fieldPath": "a"}, "fieldPath", "FieldValueInvalid", "must be a valid path"),
    ({"rule": "1 +"}, "rule", "FieldValueInvalid", "compilation failed: ERROR: <input>:1:4: Syntax error"),
    (
        {"rule": "foo(1)"},
        "rule",
        "FieldValueInvalid",
        "compilation failed: ERROR: <input>:1:4: undeclared reference to 'foo'",
    ),
    (
        {"rule": "1 + 'a' == 2"},
        "rule",
        "FieldValueInvalid",
        "compilation failed: ERROR: <input>:1:3: found no matching overload",
    ),
    ({"rule": "1"}, "rule", "FieldValueInvalid", "cel expression must evaluate to a bool"),
    (
        {"rule": "true", "messageExpression": "1"},
        "messageExpression",
        "FieldValueInvalid",
        "messageExpression must evaluate to a string",
    ),
    (
        {"rule": "true", "messageExpression": "1+"},
        "messageExpression",
        "FieldValueInvalid",
        "messageExpression compilation failed: ",
    ),
    (
        {"rule": "true", "optionalOldSelf": True},
        "optionalOldSelf",
        "FieldValueInvalid",
        "may not be set if oldSelf is not used in rule",
    ),
    ({"rule": "isURL(self.a)"}, "rule", "FieldValueInvalid", "calls isURL, which is not implemented by this server"),
]


@pytest.mark.parametrize(("rule", "field", "reason", "text"), FORMS)
def test_definition_when_a_rule_is_wrong_then_refused(
    server: Server, rule: Obj, field: str, reason: str, text: str
) -> None:
    found = told(define(server, obj(rules("true", rule), a=TEXT)))
    assert [(at, why) for at, why, _ in found] == [
        (f"{SCHEMA}.properties[spec].x-kubernetes-validations[1].{field}", reason)
    ]
    assert text in found[0][2]


def test_old_self_where_there_is_no_telling_which_then_refused(server: Server) -> None:
    item = {**INT, "x-kubernetes-validations": rules("self == oldSelf")}
    found = told(define(server, obj(None, list={"type": "array", "items": item})))
    at = f"{SCHEMA}.properties[spec].properties[list]"
    assert found[0][0] == f"{at}.items.x-kubernetes-validations[0].rule"
    assert found[0][2].endswith(f"oldSelf cannot be used on the uncorrelatable portion of the schema within {at}")


def test_what_the_library_cannot_do_is_refused_by_name(server: Server) -> None:
    when = {**TEXT, "format": "date-time"}
    found = told(define(server, obj(rules("self.at > timestamp('2026-01-01T00:00:00Z')"), at=when)))
    assert "rules about values of format date-time are not supported by this server" in found[0][2]
    spec = obj(rules("self.n > 1"), at=when, n=INT)
    assert define(server, spec).status == 201, "a rule about another field is none about it"


def test_rules_of_alternatives_are_refused(server: Server) -> None:
    spec = {**obj(None, n=INT), "anyOf": [{"x-kubernetes-validations": rules("self.n > 1")}]}
    found = told(define(server, spec))
    assert found[0][:2] == (f"{SCHEMA}.properties[spec].anyOf[0].x-kubernetes-validations", "FieldValueForbidden")


KNOWN = obj(
    None,
    n=INT,
    text=TEXT,
    inner=obj(None, a=INT),
    list={"type": "array", "items": obj(None, k=INT)},
    map={"type": "object", "additionalProperties": obj(None, v=INT)},
    kept={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    either={"x-kubernetes-int-or-string": True},
    free={"x-kubernetes-preserve-unknown-fields": True},
)
NAMED = [
    ("self.nn > 1", "1:5: undefined field 'nn'\n | self.nn > 1\n | ....^"),
    ("self.n > 1 &&\n self.inner.b > 1", "2:12: undefined field 'b'\n |  self.inner.b > 1\n | ...........^"),
    ("has(self.inner.b)", "undefined field 'b'"),
    ("self.?inner.?b.hasValue()", "undefined field 'b'"),
    ("self.list[0].j == 1", "undefined field 'j'"),
    ("self.list.all(x, x.j == 1)", "undefined field 'j'"),
    ("self.list.exists(i, x, x.j == i)", "undefined field 'j'"),
    ("self.list.map(x, x.j).size() > 1", "undefined field 'j'"),
    ("self.map['a'].w == 1", "undefined field 'w'"),
    ("self.map.a.w == 1", "undefined field 'w'"),
    ("self.map.all(k, v, v.w == 1)", "undefined field 'w'"),
    ("cel.bind(i, self.inner, i.b > 1)", "undefined field 'b'"),
    ("oldSelf.nn == self.n", "undefined field 'nn'"),
    ("self.kept.unknown == 1", "undefined field 'unknown'"),
    ("self.free.x == 1", "undefined field 'free'"),
    ("self.text.size == 1", "type 'string' does not support field selection"),
    ("self.metadata.name == 'a'", "undefined field 'metadata'"),
    ("oldSelf.?inner.b.hasValue()", "undefined field 'b'"),
]


@pytest.mark.parametrize(("rule", "text"), NAMED)
def test_definition_when_a_rule_names_what_is_not_there_then_refused(server: Server, rule: str, text: str) -> None:
    spec = {**KNOWN, "x-kubernetes-validations": rules({"rule": rule, "message": "m"})}
    found = told(define(server, spec))
    assert found[0][0] == f"{SCHEMA}.properties[spec].x-kubernetes-validations[0].rule"
    assert "compilation failed: ERROR: <input>:" in found[0][2]
    assert text in found[0][2]


@pytest.mark.parametrize(
    "rule",
    [
        "self.n > 1 && self.inner.a > 1 && self.text.size() > 1",
        "self.list.all(x, x.k == 1) && self.list.filter(x, x.k > 1)[0].k > 1",
        "self.list.exists(i, x, x.k == i) && self.map.all(k, v, v.v == 1) && self.map.all(k, k.startsWith('a'))",
        "(self.n > 1 ? self.inner : self.inner).whatever == 1",
        "cel.bind(i, self.inner, i.a > 1) && self.?inner.?a.orValue(1) > 1",
        "self.either == 1 || self.map.a.v == self.map['b'].v",
        "dyn(self).whatever == 1",
    ],
)
def test_definition_when_all_names_are_there_then_taken(server: Server, rule: str) -> None:
    answer = define(server, {**KNOWN, "x-kubernetes-validations": rules(rule)})
    assert answer.status == 201, answer.body


def test_message_expression_when_it_names_what_is_not_there_then_refused(server: Server) -> None:
    spec = obj(rules({"rule": "self.n > 1", "messageExpression": "self.m"}), n=INT)
    found = told(define(server, spec))
    assert found[0][0].endswith("x-kubernetes-validations[0].messageExpression")
    assert "messageExpression compilation failed: ERROR: <input>:1:5: undefined field 'm'" in found[0][2]


def test_optional_old_self_is_judged_by_its_names_too(server: Server) -> None:
    rule = {"rule": "oldSelf.optMap(o, o.m > 1).orValue(true)", "optionalOldSelf": True}
    assert "undefined field 'm'" in told(define(server, obj(rules(rule), n=INT)))[0][2]
    rule = {"rule": "!oldSelf.hasValue() || oldSelf.value().m > 1", "optionalOldSelf": True}
    assert "undefined field 'm'" in told(define(server, obj(rules(rule), n=INT)))[0][2]


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ({"n": 2**63}, 1),
        ({"n": 5.0}, 0),
        ({"n": 5, "bytes": "?"}, 1),
        ({"n": 5, "any": {"a": [1, 2**64 - 1, None, {"b": 1e300}]}}, 0),
        ({"n": 5, "any": None, "text": "\0\N{SNOWMAN}"}, 0),
    ],
)
def test_strange_values_are_judged(server: Server, value: Obj, count: int) -> None:
    """Whatever JSON holds, a rule holds, is broken, or fails; it is no failure of the server."""
    kept = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "nullable": True}
    rule = {"rule": "self.n == 5 && (!has(self.bytes) || self.bytes.size() > 0)", "message": "m"}
    define(server, obj(rules(rule), n=INT, bytes={**TEXT, "format": "byte"}, any=kept, text=TEXT))
    answer = create(server, value)
    assert (len(told(answer)) if answer.status == 422 else 0) == count, answer.body
