# SPDX-License-Identifier: Apache-2.0
"""Claims, classes and slices of devices that upstream refuses, and its words for it.

The cases are those of upstream's own tests (pkg/apis/resource/validation, v1.36); the texts were worked out from its
source.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.apiserver.conftest import Server, refused, shown, taken
from tests.unit.apiserver.test_group_validation import PATHS, Fields, create, patch

LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
REFERENCE = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
EXACT = {"deviceClassName": "c"}
REQUEST = {"name": "r", "exactly": EXACT}
PLACE = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"


def devices(*requests: Fields, **more: Any) -> Fields:
    return {"spec": {"devices": {"requests": list(requests) or [REQUEST], **more}}}


def slice_of(*found: Fields, **more: Any) -> Fields:
    pool = {"name": "p", "resourceSliceCount": 1}
    return {"spec": {"driver": "d.example.com", "pool": pool, "nodeName": "n", "devices": list(found), **more}}


def device(name: str = "d", **fields: Any) -> Fields:
    return {"name": name, **fields}


SUBREQUESTS = {"name": "r", "firstAvailable": [{"name": "s", **EXACT}, {"name": "t", **EXACT}]}
OPAQUE = {"opaque": {"driver": "d.example.com", "parameters": {"a": 1}}}
COUNTERS = {"name": "s", "counters": {"memory": {"value": "1Gi"}}}
TAKEN = [
    ("ResourceClaim", devices()),
    ("ResourceClaim", devices(SUBREQUESTS, constraints=[{"requests": ["r/s"], "matchAttribute": "a.io/b"}])),
    ("ResourceClaim", devices(config=[{"requests": ["r"], **OPAQUE}])),
    ("ResourceClaimTemplate", {"spec": {"metadata": {"labels": {"a": "b"}}, "spec": devices()["spec"]}}),
    ("DeviceClass", {"spec": {"extendedResourceName": "example.com/gpu", "config": [OPAQUE]}}),
    ("ResourceSlice", slice_of(device(attributes={"a": {"int": 1}, "b.io/c": {"version": "1.2.3-a+b"}}))),
    ("ResourceSlice", slice_of(device(taints=[{"key": "a", "effect": "NoExecute"}], capacity={"m": {"value": "1"}}))),
    ("ResourceSlice", {"spec": {**slice_of()["spec"], "devices": None, "sharedCounters": [COUNTERS]}}),
]


@pytest.mark.parametrize(("kind", "fields"), TAKEN)
def test_taken(server: Server, kind: str, fields: Fields) -> None:
    taken(server, PATHS[kind], create(server, kind, fields))


AT = "spec.devices.requests[0]"
REFUSED = [
    (
        "ResourceClaim",
        devices({"name": "R"}, {"name": "a", "exactly": EXACT, "firstAvailable": [{"name": "s", **EXACT}]}),
        [
            f'{AT}.name: Invalid value: "R": {LABEL}',
            f"{AT}: Required value: exactly one of `exactly` or `firstAvailable` is required",
            "spec.devices.requests[1]: Invalid value: null: exactly one of `exactly` or `firstAvailable` is required, "
            "but multiple fields are set",
        ],
    ),
    (
        "ResourceClaim",
        devices(
            {
                "name": "r",
                "exactly": {
                    "deviceClassName": "",
                    "selectors": [{}],
                    "allocationMode": "All",
                    "count": 2,
                    "tolerations": [{"operator": "Exists", "value": "v"}, {"operator": "Like", "effect": "Never"}],
                },
            },
            REQUEST,
        ),
        [
            f"{AT}.exactly.deviceClassName: Required value",
            f"{AT}.exactly.selectors[0].cel: Required value",
            f"{AT}.exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'",
            f'{AT}.exactly.tolerations[0].value: Invalid value: "v": must be empty for operator `Exists`',
            f'{AT}.exactly.tolerations[1].operator: Unsupported value: "Like": supported values: "Equal", "Exists"',
            f'{AT}.exactly.tolerations[1].effect: Unsupported value: "Never": supported values: "NoExecute", '
            '"NoSchedule", "None"',
            'spec.devices.requests[1]: Duplicate value: "r"',
        ],
    ),
    (
        "ResourceClaim",
        devices(
            SUBREQUESTS,
            constraints=[{"requests": ["r/x", "q", "r"], "matchAttribute": "b"}, {}],
            config=[{"opaque": {"driver": "d.io", "parameters": [1]}}, {}],
        ),
        [
            f'spec.devices.constraints[0].requests[0]: Invalid value: "r/x": {REFERENCE}',
            f'spec.devices.constraints[0].requests[1]: Invalid value: "q": {REFERENCE}',
            'spec.devices.constraints[0].matchAttribute: Invalid value: "b": a fully qualified name must be a domain '
            "and a name separated by a slash",
            'spec.devices.constraints[1]: Required value: exactly one of "matchAttribute" or "distinctAttribute" is '
            "required, but multiple fields are set",
            'spec.devices.config[0].opaque.parameters: Invalid value: "<value omitted>": must be a valid JSON object',
            "spec.devices.config[1].opaque: Required value",
        ],
    ),
    (
        "ResourceClaim",
        devices(*({"name": f"r{i}", "exactly": EXACT} for i in range(33))),
        ["spec.devices.requests: Too many: 33: must have at most 32 items"],
    ),
    (
        "ResourceClaimTemplate",
        {"spec": {"metadata": {"name": "n"}, "spec": {"devices": {"requests": [{"name": "r"}]}}}},
        [
            "spec.metadata.name: Forbidden: cannot be set",
            "spec.spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
        ],
    ),
    (
        "DeviceClass",
        {"spec": {"extendedResourceName": "gpu"}},
        ['spec.extendedResourceName: Invalid value: "gpu": must be a valid extended resource name'],
    ),
    (
        "ResourceSlice",
        {"spec": {"driver": "", "pool": {"name": "", "generation": -1}, "nodeName": "", "allNodes": False}},
        [
            "spec.driver: Required value",
            "spec.pool.name: Required value",
            "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
            "spec.pool.generation: Invalid value: -1: must be greater than or equal to zero",
            'spec.nodeName: Invalid value: "": must be either unset or set to a non-empty string',
            "spec.allNodes: Invalid value: false: must be either unset or set to true",
            f"spec: Required value: {PLACE}",
        ],
    ),
    (
        "ResourceSlice",
        slice_of(device(nodeName="m"), device(), allNodes=True, sharedCounters=[{"name": "s"}]),
        [
            f'spec: Invalid value: "{{`nodeName`, `allNodes`}}": {PLACE}, but multiple fields are set',
            'spec: Invalid value: "": only one of `sharedCounters` or `devices` is allowed',
            "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if "
            "`perDeviceNodeSelection` is set to true in the ResourceSlice spec",
            'spec.devices[1]: Duplicate value: "d"',
            "spec.sharedCounters[0].counters: Required value",
        ],
    ),
    (
        "ResourceSlice",
        slice_of(
            device(
                attributes={"a-b": {}, "c": {"int": 1, "bool": True}, "d": {"version": "1.2"}},
                taints=[{"key": "", "effect": "Never"}],
                bindingConditions=["a", "a"],
                consumesCounters=[{"counterSet": "", "counters": {"A": {"value": "1"}}}],
            )
        ),
        [
            'spec.devices[0].attributes: Invalid value: "a-b": a valid C identifier must start with alphabetic '
            "character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME', "
            " or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')",
            'spec.devices[0].attributes[a-b]: Invalid value: "": exactly one value must be specified',
            'spec.devices[0].attributes[c]: Invalid value: {"IntValue":1,"BoolValue":true,"StringValue":null,'
            '"VersionValue":null,"IntValues":null,"BoolValues":null,"StringValues":null,"VersionValues":null}: exactly '
            "one value must be specified",
            'spec.devices[0].attributes[d].version: Invalid value: "1.2": must be a string compatible with semver.org '
            "spec 2.0.0",
            'spec.devices[0].taints[0].key: Invalid value: "": name part must be non-empty',
            'spec.devices[0].taints[0].key: Invalid value: "": name part must consist of alphanumeric characters, '
            "'-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
            "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            'spec.devices[0].taints[0].effect: Unsupported value: "Never": supported values: "NoExecute", '
            '"NoSchedule", "None"',
            "spec.devices[0].consumesCounters[0].counterSet: Required value",
            f'spec.devices[0].consumesCounters[0].counters: Invalid value: "A": {LABEL}',
            'spec.devices[0].bindingConditions[1]: Duplicate value: "a"',
            "spec.devices[0].bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to "
            "use bindingConditions",
        ],
    ),
    (
        "ResourceSlice",
        slice_of(
            device(capacity={"m": {"value": "10", "requestPolicy": {"validValues": ["1"]}}}),
            device(
                "e",
                allowMultipleAllocations=True,
                capacity={"m": {"value": "10", "requestPolicy": {"default": "3", "validValues": ["2", "1", "11"]}}},
            ),
            device(
                "f",
                allowMultipleAllocations=True,
                capacity={
                    "m": {
                        "value": "10",
                        "requestPolicy": {"default": "3", "validRange": {"min": "2", "max": "12", "step": "2"}},
                    }
                },
            ),
        ),
        [
            "spec.devices[0].capacity[m].requestPolicy: Forbidden: allowMultipleAllocations must be true",
            'spec.devices[1].capacity[m].requestPolicy.validValues[1]: Invalid value: "1": values must be sorted in '
            "ascending order",
            'spec.devices[1].capacity[m].requestPolicy.validValues[2]: Invalid value: "11": option is larger than '
            "capacity value: 10",
            'spec.devices[1].capacity[m].requestPolicy.validValues: Invalid value: "3": default value is not valid '
            "according to the requestPolicy",
            'spec.devices[2].capacity[m].requestPolicy.validRange.max: Invalid value: "12": max is larger than '
            "capacity value: 10",
            'spec.devices[2].capacity[m].requestPolicy.validRange.step: Invalid value: "3": value is not a multiple of '
            "a given step (2) from (2)",
        ],
    ),
]


@pytest.mark.parametrize(("kind", "fields", "texts"), REFUSED)
def test_refused(server: Server, kind: str, fields: Fields, texts: list[str]) -> None:
    assert refused(create(server, kind, fields)) == shown(kind, *texts)


def test_too_many_devices(server: Server) -> None:
    many = [device(f"d{i}") for i in range(129)]
    texts = ["spec.devices: Too many: 129: must have at most 128 items"]
    assert refused(create(server, "ResourceSlice", slice_of(*many))) == shown("ResourceSlice", *texts)
    many[0]["taints"] = [{"key": "a", "effect": "None"}]
    texts = ["spec.devices: Too many: 65: must have at most 64 items"]
    assert refused(create(server, "ResourceSlice", slice_of(*many[:65]))) == shown("ResourceSlice", *texts)


def test_what_may_not_change(server: Server) -> None:
    assert create(server, "ResourceClaim", devices()).status == 201
    answer = patch(server, "ResourceClaim", devices({"name": "s", "exactly": EXACT}))
    assert answer.body["details"]["causes"][0]["message"].endswith("field is immutable")
    assert create(server, "ResourceSlice", slice_of()).status == 201
    answer = patch(server, "ResourceSlice", {"spec": {"driver": "e.example.com"}})
    assert refused(answer) == shown("ResourceSlice", 'spec.driver: Invalid value: "e.example.com": field is immutable')


RESULT = {"request": "r", "driver": "d.io", "pool": "p", "device": "d"}
FOUND = {"driver": "d.io", "pool": "p", "device": "e"}


def test_what_becomes_of_a_claim(server: Server) -> None:
    assert create(server, "ResourceClaim", devices()).status == 201
    user = {"resource": "pods", "name": "p", "uid": "u"}

    def put(**fields: Any) -> Any:
        return patch(server, "ResourceClaim", {"status": fields}, "/status")

    assert refused(put(reservedFor=[user, {}])) == shown(
        "ResourceClaim",
        "status.reservedFor[1].resource: Required value",
        "status.reservedFor[1].name: Required value",
        "status.reservedFor[1].uid: Required value",
        "status.reservedFor: Forbidden: may not be specified when `allocated` is not set",
    )
    wrong = {**RESULT, "request": "q", "pool": "", "shareID": "1"}
    assert refused(put(allocation={"devices": {"results": [wrong]}}, devices=[FOUND])) == shown(
        "ResourceClaim",
        'status.devices[0]: Invalid value: {"Driver":"d.io","Pool":"p","Device":"e","ShareID":""}: must be an '
        "allocated device in the claim",
        f'status.allocation.devices.results[0].request: Invalid value: "q": {REFERENCE}',
        "status.allocation.devices.results[0].pool: Required value",
        'status.allocation.devices.results[0].shareID: Invalid value: "1": error validating uid: invalid UUID '
        "length: 1",
    )
    assert put(allocation={"devices": {"results": [RESULT]}}, reservedFor=[user]).status == 200
    condition = {"type": "Ready", "status": "Maybe"}
    network = {"ips": ["10.1.0.1", "10.01.0.1/8"]}
    mine = {**FOUND, "device": "d", "conditions": [condition], "networkData": network}
    assert refused(put(devices=[mine])) == shown(
        "ResourceClaim",
        'status.devices[0].conditions[0].status: Unsupported value: "Maybe": supported values: "False", "True", '
        '"Unknown"',
        "status.devices[0].conditions[0].lastTransitionTime: Required value",
        "status.devices[0].conditions[0].reason: Required value",
        'status.devices[0].networkData.ips[0]: Invalid value: "10.1.0.1": must be a valid address in CIDR form, (e.g. '
        "10.9.8.7/24 or 2001:db8::1/64)",
        'status.devices[0].networkData.ips[1]: Invalid value: "10.01.0.1/8": must be in canonical form ("10.1.0.1/8")',
    )
    changed = put(allocation={"devices": {"results": [{**RESULT, "device": "e"}]}})
    assert changed.body["details"]["causes"][0]["message"].endswith("field is immutable")
