# SPDX-License-Identifier: Apache-2.0
"""The volume plugins against their oracle: decisions, sequences, changes, eviction alone and in batches."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from kubesched.framework import diagnosis
from kubesched.framework import profile as profiles
from kubesched.kernel import arrays, native
from kubesched.parity import cases, replay
from kubesched.placement.cluster import Cluster
from kubesched.scheduler import encode
from kubesched.state import live, rows
from tests import oracle, preemption_oracle, volume_oracle
from tests.parity.test_oracle_golden import as_recorded
from tests.volume_cases import Maker

Obj = dict[str, Any]
SEEDS = range(200)


def recorded(decision: Obj) -> Obj:
    """The oracle's decision as a record: statuses numbered."""
    got = as_recorded(decision) | {"feasible": decision["feasible"]}
    if "status" not in decision:
        return got
    given = [s if s is None else {"plugin": s[0], "code": s[1], "reasons": s[2]} for s in decision["status"]]
    distinct = [s for i, s in enumerate(given) if s is not None and s not in given[:i]]
    got["node"] = [-1 if s is None else distinct.index(s) for s in given]
    return got | ({"statuses": distinct} if distinct else {})


@pytest.mark.parametrize("seed", SEEDS)
def test_a_decision(seed: int) -> None:
    maker = Maker(seed, 1 + seed % 9)
    case = maker.cluster(seed % 12) | {"pod": maker.pod("p")}
    nodes = oracle.build(case["nodes"], case["pods"])
    decision = volume_oracle.decide(case["pod"], nodes, volume_oracle.Storage.of(case))
    outcome = replay.replay(case | {"expect": recorded(decision)})
    assert outcome.skipped is None
    assert outcome.differences == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sequence(seed: int) -> None:
    maker = Maker(seed + 1000, 1 + seed % 9)
    case = maker.cluster(seed % 6)
    case["sequence"] = [maker.pod(f"p{i}") for i in range(12)]
    nodes = oracle.build(case["nodes"], case["pods"])
    case["expect"] = volume_oracle.sequence(nodes, case["sequence"], volume_oracle.Storage.of(case))
    outcome = replay.replay(case)
    assert outcome.skipped is None
    assert outcome.differences == ()


def roomy(maker: Maker, number: int) -> Obj:
    """A pod with one volume of its own, of a kind that is decided with others in one call."""
    name = f"own{number}"
    claim = maker.claim(name)
    claim["metadata"].pop("deletionTimestamp", None)
    claim["status"] = {}
    spec, rng = claim["spec"], maker.rng
    spec |= {"accessModes": ["ReadWriteOnce"], "storageClassName": rng.choice(["one", "only"])}
    if rng.random() < 0.6:
        volume = maker.volume(100 + number)
        volume["metadata"]["name"], volume["status"] = name, {"phase": "Bound"}
        volume["spec"]["claimRef"] = {"namespace": "default", "name": name}
        maker.volumes.append(volume)
        spec["volumeName"] = name
        claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = "yes"
    maker.claims.append(claim)
    used = name if rng.random() < 0.9 else f"own{rng.randint(0, number)}"
    mount = {"name": "w", "persistentVolumeClaim": {"claimName": used}}
    containers = [{"name": "c", "resources": {"requests": {"cpu": f"{rng.randint(1, 2)}00m"}}}]
    return {
        "metadata": {"name": f"p{number}", "namespace": "default"},
        "spec": {"containers": containers, "volumes": [mount]},
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sequence_that_is_decided_in_batches(seed: int) -> None:
    maker = Maker(seed + 5000, 2 + seed % 5)
    case = maker.cluster(seed % 3)
    only = {"metadata": {"name": "only"}, "provisioner": "csi.two", "volumeBindingMode": "WaitForFirstConsumer"}
    case["storageclasses"].append(only)
    case["sequence"] = [roomy(maker, i) for i in range(40)]
    nodes = oracle.build(case["nodes"], case["pods"])
    case["expect"] = volume_oracle.sequence(nodes, case["sequence"], volume_oracle.Storage.of(case))
    outcome = replay.replay(case)
    assert outcome.skipped is None
    assert outcome.differences == ()


def rows_of(case: Obj) -> encode.Encoded:
    objects = [{**obj, "kind": kind} for name, kind in cases.KINDS.items() for obj in case.get(name) or ()]
    objects += [{**obj, "kind": "Node"} for obj in case["nodes"]]
    return encode.encode(objects + [{**obj, "kind": "Pod"} for obj in case["pods"]])


def built(case: Obj) -> live.ClusterState:
    read = rows_of(case)
    state = live.ClusterState()
    state.volumes.put(read.storage)
    state.add_nodes(read.nodes)
    state.bind(read.running)
    return state


def seen(state: live.ClusterState, pod: rows.PodRow) -> Obj:
    """What the state says of a pod, by node name."""
    profile = profiles.find("default-v1.36")
    class_id = state.class_of(pod)
    engine_profile = profiles.register(state, profile)
    rejection = state.prepare(pod.key, class_id, engine_profile)
    verdicts = state.engine.explain(engine_profile, class_id, len(profile.scores))
    why = diagnosis.diagnose(state, pod.shape, verdicts, rejection)
    if why.pre_filter.status is not None:
        return {"": why.pre_filter.status}
    named = {state.node_name(row): int(of) for row, of in enumerate(why.status_of) if of != -2}
    return {str(name): None if of < 0 else why.statuses[of] for name, of in named.items()}


def tighten(case: Obj, rng: random.Random) -> None:
    """Make volumes decide: room for all pods, few attachments, each claim of ReadWriteOncePod named by one pod.

    Of such a claim that two running pods name, the oracle counts the users, upstream does not.
    """
    for node in case["nodes"]:
        node["status"]["allocatable"] |= {"cpu": "64", "pods": "60"}
    for of in case["csinodes"]:
        for driver in of["spec"]["drivers"]:
            driver["allocatable"] = {"count": rng.randint(0, 2)}
    named = Counter(name for pod in case["pods"] for _, name in volume_oracle.named_claims(pod))
    for claim in case["pvcs"]:
        if named[claim["metadata"]["name"]] > 1:
            claim["spec"]["accessModes"] = ["ReadWriteOnce"]
    for pod in case["pods"]:
        pod["spec"]["priority"] = rng.randint(0, 2)
        pod["status"] = {"startTime": f"2026-01-01T00:00:{rng.randint(10, 59)}Z"}


@pytest.mark.parametrize("seed", range(300))
def test_whom_a_pod_with_volumes_evicts(seed: int) -> None:
    maker, rng = Maker(seed + 6000, 1 + seed % 4), random.Random(seed)
    case = maker.cluster(14)
    pods = [maker.pod(f"p{i}") for i in range(6)]
    tighten(case, rng)
    for pod in pods:
        pod["spec"]["priority"] = rng.choice([1, 3, 3, 3])
        decision = preemption_oracle.decide(pod, preemption_oracle.build(case))
        if decision["feasible"] or "error" in decision:
            continue
        outcome = replay.replay(case | {"pod": pod, "expect": recorded(decision)})
        assert outcome.skipped is None
        assert outcome.differences == ()


def crowded(seed: int) -> tuple[list[Obj], list[Obj]]:
    """Objects of a full cluster with few attachments, and pods with volumes of their own, most of which must evict."""
    maker, rng = Maker(seed + 7000, 2 + seed % 5), random.Random(seed)
    case = maker.cluster(seed % 8)
    only = {"metadata": {"name": "only"}, "provisioner": "csi.two", "volumeBindingMode": "WaitForFirstConsumer"}
    case["storageclasses"].append(only)
    pods = [roomy(maker, i) for i in range(30)]
    tighten(case, rng)
    for node in case["nodes"]:
        node["status"]["allocatable"]["cpu"] = "4"
    for number, pod in enumerate(pods):
        requests = pod["spec"]["containers"][0]["resources"]["requests"]
        pod["spec"]["priority"] = min(3, number // 7) + rng.randint(0, seed % 2)
        pod["status"] = {"startTime": f"2026-01-01T00:01:{number:02d}Z"}
        requests["cpu"] = rng.choice(["1", "2"])
    return [{**obj, "kind": kind} for name, kind in cases.KINDS.items() for obj in case.get(name) or ()] + [
        {**obj, "kind": kind} for name, kind in (("nodes", "Node"), ("pods", "Pod")) for obj in case[name]
    ], pods


@pytest.mark.parametrize("driver", ["auto", "dense"])
def test_a_batch_that_evicts_is_decided_like_one_pod_after_another(driver: str) -> None:
    evicted = 0
    for seed in range(12):
        objects, pods = crowded(seed)
        together, apart = Cluster.from_objects(objects), Cluster.from_objects(objects)
        plan = together.place(pods, driver=driver, evict=True)
        plans = [apart.place([pod], evict=True) for pod in pods]
        assert plan.nodes == [one.nodes[0] for one in plans], seed
        assert plan.victims == {pod: gone for one in plans for pod, gone in one.victims.items()}, seed
        assert plan.reasons == [one.reasons[0] for one in plans], seed
        evicted += len(plan.victims)
    assert evicted > 20


@pytest.mark.parametrize("seed", range(40))
def test_changes_come_to_what_a_new_state_says(seed: int) -> None:
    maker, rng = Maker(seed + 3000, 5), random.Random(seed)
    case = maker.cluster(4)
    state = built(case)
    probes = [encode.pod_row(maker.pod(f"probe{i}")) for i in range(6)]
    case["pvcs"] = maker.claims
    state.volumes.put(rows_of(case).storage)
    for number in range(25):
        change(state, case, maker, rng, number)
        again = built(case)
        for probe in probes:
            assert seen(state, probe) == seen(again, probe)


def change(state: live.ClusterState, case: Obj, maker: Maker, rng: random.Random, number: int) -> None:
    """Change the state and the case alike."""
    kind = rng.randrange(6)
    if kind == 0:  # a node goes, with its pods
        gone = rng.choice(case["nodes"])["metadata"]["name"]
        state.remove_node(gone)
        case["nodes"] = [n for n in case["nodes"] if n["metadata"]["name"] != gone]
        case["pods"] = [p for p in case["pods"] if p["spec"]["nodeName"] != gone]
        name = rng.choice([gone, f"new{number}"])
        case["nodes"].append(maker.node(name))
        state.add_nodes([encode.node_row(case["nodes"][-1])])
    elif kind == 1:
        at = rng.randrange(len(case["nodes"]))
        case["nodes"][at] = maker.node(case["nodes"][at]["metadata"]["name"])
        state.update_node(encode.node_row(case["nodes"][at]))
    elif kind in (2, 3):
        name = rng.choice(case["nodes"])["metadata"]["name"]
        case["pods"].append(maker.pod(f"q{number}", name))
        case["pvcs"] = maker.claims
        state.volumes.put(rows_of(case).storage)
        state.bind([encode.pod_row(case["pods"][-1])])
    elif kind == 4 and case["pods"]:
        pod = case["pods"].pop(rng.randrange(len(case["pods"])))
        state.release([f"default/{pod['metadata']['name']}"])
    else:
        name = rng.choice(case["nodes"])["metadata"]["name"]
        case["csinodes"] = [n for n in case["csinodes"] if n["metadata"]["name"] != name] + [maker.csi_node(name)]
        state.volumes.put(rows_of(case).storage)


@pytest.mark.parametrize("seed", range(40))
def test_a_rollback_leaves_nothing(seed: int) -> None:
    maker = Maker(seed + 4000, 5)
    case = maker.cluster(4)
    pods = [maker.pod(f"p{i}") for i in range(12)]
    case["pvcs"] = maker.claims
    state = built(case)
    asked = [encode.pod_row(pod) for pod in pods]
    before = [seen(state, pod) for pod in asked]
    options = native.Options(profiles.register(state, profiles.find("default-v1.36")))
    outer = state.speculate()
    placed = 0
    for number, pod in enumerate(asked):
        inner = state.speculate()
        class_id = state.class_of(pod)
        if state.prepare(pod.key, class_id, options.profile) is None:
            node = int(state.engine.place(options, arrays.int32([class_id])).node[0])
            if node >= 0:
                state.reserve(pod.key, class_id, node)
                placed += 1
        if number % 3 == 0 and case["pods"]:
            state.volumes.release(f"default/{case['pods'][0]['metadata']['name']}")
        state.rollback(inner) if number % 2 else state.keep(inner)
    state.rollback(outer)
    assert [seen(state, pod) for pod in asked] == before
    assert placed
