# SPDX-License-Identifier: Apache-2.0
"""One plugin at a time against the oracle, on small worlds drawn by Hypothesis: what fails, shrinks."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from kubesched.framework import diagnosis
from kubesched.framework import profile as profiles
from kubesched.kernel import native
from kubesched.state import live, rows
from tests import builders, gpu_oracle, oracle, strategies
from tests.property.test_engine_oracle import as_profile

Obj = dict[str, Any]
BEYOND = 2**56
"""Largest quantity of a row."""


def explain(
    nodes: list[Obj], running: list[Obj], pod: Obj, profile: oracle.Profile
) -> tuple[live.ClusterState, native.Verdicts]:
    state = live.ClusterState()
    state.add_nodes([strategies.node_row(obj) for obj in nodes])
    state.bind([strategies.pod_row(obj) for obj in running])
    number = profiles.register(state, as_profile(profile))
    class_id = state.class_id(strategies.shape(pod))
    return state, state.engine.explain(number, class_id, len(profile.plugins))


def agree(
    nodes: list[Obj], running: list[Obj], pod: Obj, profile: oracle.Profile = oracle.DEFAULT
) -> tuple[oracle.Obj, native.Verdicts]:
    """Both decide; filters, raw and normalised scores must be equal."""
    state, verdicts = explain(nodes, running, pod, profile)
    expected = oracle.decide(pod, oracle.build(nodes, running), profile)
    found = diagnosis.diagnose(state, strategies.shape(pod), verdicts)
    assert found.feasible.tolist() == expected["feasible"]
    assert found.message() == expected.get("message", "")
    if expected["feasible"]:
        scored = [i for i in range(len(profile.plugins)) if not verdicts.skipped[i]]
        assert [profile.plugins[i][0] for i in scored] == expected["scorePlugins"]
        assert verdicts.raw[scored][:, found.feasible].T.tolist() == expected["raw"]
        assert verdicts.score[scored][:, found.feasible].T.tolist() == expected["scores"]
        assert verdicts.total[found.feasible].tolist() == expected["total"]
    return expected, verdicts


# ---- resources ----


@st.composite
def profiles_of_resources(draw: st.DrawFn) -> oracle.Profile:
    names = st.lists(st.sampled_from(["cpu", "memory", *strategies.EXTENDED]), min_size=1, unique=True)
    strategy = draw(st.sampled_from(["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"]))
    n_points = 5 if strategy == "RequestedToCapacityRatio" else 0  # the others are refused with a shape
    points = st.lists(st.integers(0, 100), min_size=min(1, n_points), max_size=n_points, unique=True)
    return oracle.Profile(
        plugins=(("NodeResourcesFit", draw(st.integers(1, 100))), ("NodeResourcesBalancedAllocation", 1)),
        strategy=strategy,
        resources=tuple((name, draw(st.integers(1, 100))) for name in draw(names)),
        shape=tuple((u, draw(st.integers(0, 10))) for u in sorted(draw(points))),
        balanced=tuple(draw(names)),
        release=draw(st.sampled_from(["v1.36", "v1.35"])),
    )


@st.composite
def loads(draw: st.DrawFn) -> dict[str, tuple[int, int, int]]:
    """Resource to allocatable, used and asked; now and then nearly full, by one more or less."""
    out = {}
    for name in ("cpu", "memory", *strategies.EXTENDED):
        alloc = draw(strategies.amounts)
        used = draw(st.integers(0, alloc) | strategies.amounts)
        near = st.integers(max(0, alloc - used - 1), min(BEYOND, max(0, alloc - used) + 1))
        asked = draw(st.integers(0, max(0, alloc - used)) | near | st.just(0))
        out[name] = (alloc, used, min(asked, BEYOND))
    return out


def text(name: str, amount: int) -> str:
    return f"{amount}m" if name == "cpu" else str(amount)


@given(load=loads(), profile=profiles_of_resources(), explicit=st.booleans())
@example(  # a fraction that divides exactly as integers and differently as doubles
    load=dict.fromkeys(("cpu", "memory", *strategies.EXTENDED), (2**56, 2**53 + 1, 2**53 + 3)),
    profile=oracle.Profile(balanced=("cpu", "memory", "example.com/gpu")),
    explicit=True,
)
@example(  # the largest amount is an amount
    load=dict.fromkeys(("cpu", "memory", *strategies.EXTENDED), (2**56, 0, 1)),
    profile=oracle.Profile(resources=(("hugepages-2Mi", 1),)),
    explicit=True,
)
def test_resources(load: dict[str, tuple[int, int, int]], profile: oracle.Profile, explicit: bool) -> None:
    node = builders.make_node("node-0")
    for name, (alloc, _, _) in load.items():
        node.allocatable(name, text(name, alloc))
    used = {name: text(name, amount) for name, (_, amount, _) in load.items()}
    asked = {name: text(name, amount) for name, (_, _, amount) in load.items() if amount or explicit}
    running = builders.make_pod("r").container(more=used).on("node-0").build()
    agree([node.build()], [running], builders.make_pod("p").container(more=asked).build(), profile)


@given(data=st.data(), n_containers=st.integers(1, 3), n_init=st.integers(0, 3))
def test_what_a_pod_asks_for(data: st.DataObject, n_containers: int, n_init: int) -> None:
    """Containers, init containers, sidecars, overhead and pod level, told apart by one node that just holds them."""
    quantities = st.none() | st.sampled_from(["0", "100m", "250m", "0.0015", "1", "2"])
    pod = builders.make_pod("p")
    for _ in range(n_containers):
        pod.container(data.draw(quantities), data.draw(quantities))
    for _ in range(n_init):
        add = pod.sidecar if data.draw(st.booleans()) else pod.init
        add(data.draw(quantities), data.draw(quantities))
    if data.draw(st.booleans()):
        pod.overhead(data.draw(quantities), "7")
    if data.draw(st.booleans()):
        pod.pod_level(data.draw(quantities), data.draw(quantities))
    made = pod.build()
    need = oracle.real(made)
    for slack in (0, -1):
        node = builders.make_node("node-0").cpu(f"{max(0, need.get('cpu', 0) + slack)}m")
        node.memory(str(max(0, need.get("memory", 0) + slack)))
        expected, _ = agree([node.build()], [], made)
        short = slack < 0 and (need.get("cpu", 0) > 0 or need.get("memory", 0) > 0)
        assert bool(expected["feasible"]) != short


# ---- taints ----


@given(
    taints=st.lists(st.lists(strategies.taint_objects, max_size=4), min_size=1, max_size=4),
    tolerations=st.lists(strategies.toleration_objects(), max_size=4),
)
def test_taints(taints: list[list[Obj]], tolerations: list[Obj]) -> None:
    nodes = []
    for i, of_node in enumerate(taints):
        node = builders.make_node(f"node-{i}").cpu("1").memory("1Gi")
        for taint in of_node:
            node.taint(taint["key"], taint["effect"], taint["value"])
        nodes.append(node.build())
    pod = builders.make_pod("p").container()
    for toleration in tolerations:
        pod.tolerate(**toleration)
    agree(nodes, [], pod.build())


@given(tolerations=st.lists(strategies.toleration_objects(), max_size=3), key=st.booleans())
def test_unschedulable(tolerations: list[Obj], key: bool) -> None:
    node = builders.make_node("node-0").unschedulable().build()
    pod = builders.make_pod("p").container()
    for toleration in tolerations:
        pod.tolerate(**(toleration | {"key": "node.kubernetes.io/unschedulable"} if key else toleration))
    agree([node], [], pod.build())


# ---- node affinity ----


@given(
    labels=st.lists(strategies.labels, min_size=1, max_size=3),
    selector=st.dictionaries(st.sampled_from(strategies.KEYS), strategies.label_values, max_size=1),
    required=st.none() | st.lists(strategies.term_objects(True), max_size=3),
    preferred=st.lists(st.tuples(st.integers(1, 100), strategies.term_objects(False)), max_size=3),
)
def test_node_affinity(
    labels: list[dict[str, str]],
    selector: dict[str, str],
    required: list[Obj] | None,
    preferred: list[tuple[int, Obj]],
) -> None:
    nodes = []
    for i, of_node in enumerate(labels):
        node = builders.make_node(f"node-{i}").cpu("1").memory("1Gi")
        for key, value in of_node.items():
            node.label(key, value)
        nodes.append(node.build())
    pod = builders.make_pod("p").container()
    for key, value in selector.items():
        pod.select(key, value)
    if required is not None:
        pod.require(*required)
    for weight, term in preferred:
        pod.prefer(weight, term)
    agree(nodes, [], pod.build())


# ---- ports and images ----

ports = st.builds(
    builders.host_port,
    st.sampled_from([80, 443]),
    st.sampled_from(["", "0.0.0.0", "10.0.0.1", "127.0.0.1", "::"]),
    st.sampled_from(["", "TCP", "UDP", "SCTP"]),
)


@given(there=st.lists(ports, max_size=3), mine=st.lists(ports, max_size=3), sidecar=ports)
def test_host_ports(there: list[Obj], mine: list[Obj], sidecar: Obj) -> None:
    nodes = [builders.make_node(f"node-{i}").cpu("1").memory("1Gi").build() for i in range(2)]
    running = builders.make_pod("r").container(ports=tuple(there)).init(ports=(sidecar,)).on("node-0").build()
    pod = builders.make_pod("p").container(ports=tuple(mine)).sidecar(ports=(sidecar,)).build()
    expected, _ = agree(nodes, [running], pod)
    assert 1 in expected["feasible"]  # ports of init containers do not count


@given(
    there=st.lists(st.dictionaries(st.sampled_from(strategies.IMAGES), st.integers(0, 2**40)), min_size=1, max_size=4),
    images=st.lists(st.sampled_from(strategies.IMAGE_REFERENCES), min_size=1, max_size=4),
    volumes=st.lists(st.sampled_from(strategies.IMAGE_REFERENCES), max_size=2),
)
def test_images(there: list[dict[str, int]], images: list[str], volumes: list[str]) -> None:
    nodes = []
    for i, of_node in enumerate(there):
        node = builders.make_node(f"node-{i}").cpu("1").memory("1Gi")
        for name, size in of_node.items():
            node.image(size, name)
        nodes.append(node.build())
    pod = builders.make_pod("p").container(image=images[0])
    for image in images[1:]:
        pod.init(image=image)
    for reference in volumes:
        pod.image_volume(reference)
    agree(nodes, [], pod.build())


# ---- device shares ----


@given(
    left=st.lists(st.lists(st.integers(0, 1000), max_size=8), min_size=1, max_size=4),
    milli=st.integers(1, 1000),
    count=st.integers(1, 8),
)
def test_device_filter(left: list[list[int]], milli: int, count: int) -> None:
    pod = gpu_oracle.Pod(0, 0, count if milli == 1000 else 1, milli)
    nodes = [gpu_oracle.Node(1000, 1 << 30, of_node) for of_node in left]
    state = live.ClusterState()
    for i, node in enumerate(nodes):
        whole = dataclasses.replace(node, left=[1000] * len(node.left))
        state.add_nodes([strategies.gpu_node_row(f"n{i}", whole)])
        for d, free in enumerate(node.left):
            if free < 1000:
                held = state.class_id(strategies.gpu_shape(gpu_oracle.Pod(0, 0, 1, 1000 - free)))
                one = np.array([1 << d], dtype=np.uint64)
                state.engine.bind(np.array([held], dtype=np.int32), np.array([i], dtype=np.int32), one)
    number = profiles.register(state, profiles.find("packing"))
    shape = dataclasses.replace(strategies.gpu_shape(pod), requests=((rows.CPU, 1),))
    verdicts = state.engine.explain(number, state.class_id(shape), 1)
    assert (verdicts.filter == -1).tolist() == [gpu_oracle.feasible(node, pod) for node in nodes]
