# SPDX-License-Identifier: Apache-2.0
"""Rules about other pods that no API server accepts are one clear error; odd ones that it accepts are decided."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kubesched as ks
from kubesched.base import errors
from kubesched.scheduler import defaults, encode
from tests import builders, decision_oracle, pairwise_oracle, pairwise_strategies
from tests.builders import Obj, need

LONG = "a" * 64
SELECTOR = {"matchLabels": {"app": "a"}}


def constraint(**fields: Any) -> Obj:
    made = {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": SELECTOR}
    return {name: value for name, value in (made | fields).items() if value is not None}


def term(**fields: Any) -> Obj:
    made = {"topologyKey": "zone", "labelSelector": SELECTOR} | fields
    return {name: value for name, value in made.items() if value is not None}


def pod(*spread: Obj, affinity: Obj | None = None, labels: dict[str, str] | None = None) -> Obj:
    made = builders.make_pod("p").container().build()
    made["metadata"]["labels"] = labels or {"app": "a"}
    made["spec"] |= {"topologySpreadConstraints": list(spread)} | ({"affinity": affinity} if affinity else {})
    return made


def required(*terms: Obj, kind: str = "podAffinity") -> Obj:
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def preferred(weight: int) -> Obj:
    wish = {"weight": weight, "podAffinityTerm": term()}
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}


def expressions(*needs: Obj) -> Obj:
    return {"matchExpressions": list(needs)}


SPREAD, NEAR = "topologySpreadConstraints[0].", "requiredDuringSchedulingIgnoredDuringExecution[0]."


@pytest.mark.parametrize(
    ("obj", "where", "what"),
    [
        (pod(constraint(maxSkew=0)), SPREAD + "maxSkew", "is out of range, got 0, expected 1 or more"),
        (pod(constraint(maxSkew=None)), SPREAD + "maxSkew", "is out of range, got 0"),
        (pod(constraint(maxSkew="1")), SPREAD + "maxSkew", "has the wrong type"),
        (pod(constraint(minDomains=0)), SPREAD + "minDomains", "is out of range, got 0"),
        (
            pod(constraint(minDomains=2, whenUnsatisfiable="ScheduleAnyway")),
            SPREAD + "minDomains",
            "goes with DoNotSchedule alone, got 'ScheduleAnyway'",
        ),
        (pod(constraint(topologyKey=None)), SPREAD + "topologyKey", "is missing, expected a label key"),
        (pod(constraint(topologyKey="a b")), SPREAD + "topologyKey", "is no label key, got 'a b'"),
        (pod(constraint(topologyKey=LONG)), SPREAD + "topologyKey", "is no label key"),
        (pod(constraint(topologyKey="UPPER/zone")), SPREAD + "topologyKey", "is no label key"),
        (pod(constraint(topologyKey="/zone")), SPREAD + "topologyKey", "is no label key"),
        (pod(constraint(whenUnsatisfiable="Maybe")), SPREAD + "whenUnsatisfiable", "is unknown, got 'Maybe'"),
        (pod(constraint(whenUnsatisfiable=None)), SPREAD + "whenUnsatisfiable", "is unknown"),
        (pod(constraint(nodeTaintsPolicy="Maybe")), SPREAD + "nodeTaintsPolicy", "is not a policy"),
        (
            pod(constraint(), constraint(maxSkew=2)),
            "topologySpreadConstraints[1].topologyKey",
            "exists twice, got 'zone DoNotSchedule'",
        ),
        (
            pod(constraint(labelSelector=None, matchLabelKeys=["app"])),
            SPREAD + "matchLabelKeys",
            "needs a labelSelector beside it",
        ),
        (pod(constraint(matchLabelKeys=["a b"])), SPREAD + "matchLabelKeys[0]", "is no label key"),
        (pod(constraint(labelSelector={"matchLabels": {"app": LONG}})), "labelSelector.matchLabels['app']", "no label"),
        (pod(constraint(labelSelector={"matchLabels": {LONG: "a"}})), "labelSelector.matchLabels", "has a wrong key"),
        (pod(constraint(labelSelector=expressions(need("app", "Gt", "1")))), ".operator", "is not an operator"),
        (pod(constraint(labelSelector=expressions(need("app", "In")))), ".values", "does not fit In, got []"),
        (pod(constraint(labelSelector=expressions(need("app", "Exists", "a")))), ".values", "does not fit Exists"),
        (pod(constraint(labelSelector=expressions(need("app", "In", "-a")))), ".values[0]", "is no label value"),
        (pod(constraint(labelSelector=expressions(need("", "Exists")))), ".key", "is missing"),
        (pod(affinity=required(term(topologyKey=None))), NEAR + "topologyKey", "is missing"),
        (pod(affinity=required(term(topologyKey="a b"))), NEAR + "topologyKey", "is no label key"),
        (pod(affinity=required(term(namespaces=["N"]))), NEAR + "namespaces[0]", "is no namespace, got 'N'"),
        (
            pod(affinity=required(term(namespaceSelector=expressions(need("a", "Lt", "1"))))),
            ".operator",
            "is not an op",
        ),
        (
            pod(affinity=required(term(matchLabelKeys=["app"], mismatchLabelKeys=["app"]))),
            NEAR + "mismatchLabelKeys",
            "repeats a matchLabelKey, got 'app'",
        ),
        (
            pod(affinity=required(term(labelSelector=None, mismatchLabelKeys=["app"]))),
            NEAR + "mismatchLabelKeys",
            "needs a labelSelector",
        ),
        (pod(affinity=preferred(0)), ".weight", "is out of range, got 0, expected 1 to 100"),
        (pod(affinity=preferred(101)), ".weight", "is out of range, got 101"),
    ],
)
def test_what_no_api_server_accepts(obj: Obj, where: str, what: str) -> None:
    with pytest.raises(errors.InputError) as caught:
        encode.pod_row(obj)
    text = str(caught.value)
    assert text.startswith("Pod default/p: ")
    assert f"{where}: {what}" in text or (where in text and what in text)


@pytest.mark.parametrize("text", ["", "a", "A.b_c-9", "9", "a" * 63])
def test_label_values_that_there_are(text: str) -> None:
    found = encode.pod_row(pod(constraint(labelSelector={"matchLabels": {"app": text}}))).shape.spread[0].selector
    assert found is not None
    assert found[0].values == (text,)


@pytest.mark.parametrize("text", [LONG, "-4", "a b"])
def test_labels_themselves_are_taken_as_they_are(text: str) -> None:
    """The scheduler compares them, whatever they are; requirements that cannot name them match nothing."""
    assert encode.node_row(builders.make_node("n").label("zone", text).build()).labels[-1] == ("zone", text)
    assert encode.pod_row(pod(labels={"app": text})).shape.labels == (("app", text),)


CONTRADICTION = expressions(need("app", "In", "a"), need("app", "NotIn", "a"))


@pytest.mark.parametrize(
    "obj",
    [
        pod(constraint(labelSelector=CONTRADICTION)),
        pod(constraint(labelSelector=None)),
        pod(constraint(labelSelector={})),
        pod(constraint(topologyKey="nowhere")),
        pod(constraint(minDomains=2**31 - 1)),
        pod(constraint(), constraint(whenUnsatisfiable="ScheduleAnyway")),
        pod(affinity=required(term(labelSelector=CONTRADICTION))),
        pod(affinity=required(term(labelSelector=CONTRADICTION), kind="podAntiAffinity")),
        pod(affinity=required(term(labelSelector=None))),
        pod(affinity=required(term(topologyKey="nowhere"))),
        pod(affinity=required(term(topologyKey="nowhere"), kind="podAntiAffinity")),
        pod(affinity=required(term(), term())),
        pod(affinity=required(term()) | required(term(), kind="podAntiAffinity")),
        pod(affinity=required(term(namespaces=["unknown"]))),
        pod(affinity=required(term(namespaceSelector=expressions(need("a", "In", "b"), need("a", "NotIn", "b"))))),
        pod(affinity=required()),
    ],
)
def test_odd_rules_are_decided_as_the_scheduler_does(obj: Obj) -> None:
    nodes = [builders.make_node(f"n{i}").cpu("4").memory("4Gi").label("zone", f"z{i // 2}").build() for i in range(4)]
    running = [pod() | {"metadata": {"name": f"r{i}", "namespace": "default", "labels": {"app": "a"}}} for i in (0, 1)]
    for i, other in enumerate(running):
        other["spec"]["nodeName"] = f"n{i}"
    cluster = ks.Cluster.from_objects([*nodes, *running])
    expected = decision_oracle.decide(obj, decision_oracle.build({"nodes": nodes, "pods": running}))
    for driver in ("dense", "indexed"):
        plan = cluster.place([obj], driver=driver, commit=False)
        assert plan.node_index.tolist() == (expected.get("best") or [-1])[:1]
        assert plan.reasons == [expected.get("message", "")]


def test_owners_that_own_each_other_spread_as_owners_without_owners_do() -> None:
    def controller(name: str, owner: str) -> Obj:
        made: Obj = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "spec": {"selector": {"matchLabels": {"app": name}}},
        }
        by = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner, "controller": True}]
        return made | {"metadata": {"name": name, "namespace": "default", "uid": name, "ownerReferences": by}}

    rings = {"each other": [controller("a", "b"), controller("b", "a")], "itself": [controller("a", "a")]}
    nodes = [builders.make_node(f"n{i}").cpu("4").memory("4Gi").label("zone", f"z{i // 2}").build() for i in range(4)]
    pods = [pod(labels={"app": "a"}) for _ in range(4)]
    for i, one in enumerate(pods):
        one["metadata"] |= {"name": f"p{i}", "ownerReferences": controller("a", "a")["metadata"]["ownerReferences"]}
    for name, ring in rings.items():
        straight = [
            obj | {"metadata": {k: v for k, v in obj["metadata"].items() if k != "ownerReferences"}} for obj in ring
        ]
        found, expected = (ks.Cluster.from_objects([*nodes, *objects, *pods]).place() for objects in (ring, straight))
        assert found.nodes == expected.nodes == ["n0", "n1", "n2", "n3"], name
        assert found.scores.tolist() == expected.scores.tolist()


def test_label_keys_of_manifests_become_part_of_selectors() -> None:
    """As in objects from a server, which has done it already."""
    rng, n_keys = np.random.Generator(np.random.PCG64(7)), 0
    for family in pairwise_strategies.FAMILIES.values():
        for i in range(60):
            obj = pairwise_strategies.submitted(rng, f"p{i}", family)
            stored = pairwise_oracle.stored(obj)
            n_keys += stored != obj
            assert encode.pod_row(defaults.apply(obj)) == encode.pod_row(stored)
    assert n_keys > 10
