# SPDX-License-Identifier: Apache-2.0
"""Users' plugins: the three forms of one rule agree, drivers agree, and what goes wrong is named."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import kubesched as ks
from kubesched.framework import plugins
from kubesched.kernel import arrays, native
from kubesched.scheduler import encode
from tests.builders import make_node, make_pod

N = 60
FIT = ks.ScorePlugin("NodeResourcesFit", 1, "LeastAllocated", (("cpu", 1), ("memory", 1)))


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    """Names that a test registers disappear with it."""
    before = dict(plugins._REGISTRY)
    yield
    plugins._REGISTRY.clear()
    plugins._REGISTRY.update(before)


def energy(node: Any, pod: Any) -> float:
    """100 less the watts that the pod adds, by four: waking the node counts its idle watts."""
    share = pod.request.cpu / node.allocatable.cpu
    waking = node.idle if node.used.pods == 0 else 0.0
    return 100.0 - (waking + (node.peak - node.idle) * share) / 4


def energy_of_columns(node: Any, pod: Any) -> Any:
    share = pod.request.cpu / node.allocatable.cpu
    waking = np.where(node.used.pods == 0, node.idle, 0.0)
    return 100.0 - (waking + (node.peak - node.idle) * share) / 4


def half_full(node: Any, pod: Any) -> bool:
    return (node.used.cpu + pod.request.cpu) * 2 <= node.allocatable.cpu  # type: ignore[no-any-return]


@dataclasses.dataclass
class World:
    """A cluster with watts, and pods of few shapes."""

    cluster: ks.Cluster
    idle: np.ndarray[Any, Any]
    peak: np.ndarray[Any, Any]
    cpu: list[int]

    @property
    def pods(self) -> list[dict[str, Any]]:
        return [make_pod(f"p{i}").container(cpu=f"{m}m", memory="1Gi").build() for i, m in enumerate(self.cpu)]


def make_world(seed: int, n_pods: int = 300) -> World:
    rng = np.random.Generator(np.random.PCG64(seed))
    cluster = ks.Cluster.synthetic(N, seed=seed)
    idle, peak = rng.integers(40, 200, N).astype(float), rng.integers(200, 600, N).astype(float)
    cluster.add_node_column("idle", idle)
    cluster.add_node_column("peak", peak)
    return World(cluster, idle, peak, (250 * rng.integers(1, 13, n_pods)).tolist())


def register(form: str, normalize: str = "clamp") -> str:
    if form == "compiled":
        ks.score_plugin(energy, columns=("idle", "peak"), normalize=normalize)
        return "energy"
    ks.score_plugin(energy_of_columns, columns=("idle", "peak"), normalize=normalize, vectorized=True)
    return "energy_of_columns"


def profile(score: str, *filters: str, weight: int = 1) -> ks.Profile:
    return ks.Profile("green", ("NodeResourcesFit", *filters), (FIT, ks.ScorePlugin(score, weight)))


class Slow:
    """The same decision by hand: LeastAllocated and the energy score, on Python integers and floats."""

    def __init__(self, world: World, normalize: str) -> None:
        columns = world.cluster._state.engine.columns()
        self.alloc = [[int(v) for v in column] for column in columns.allocatable[:2]]
        self.used = [[0] * N, [0] * N]
        self.pods = [0] * N
        self.world, self.normalize = world, normalize

    def raw(self, i: int, cpu: int) -> int:
        waking = self.world.idle[i] if self.pods[i] == 0 else 0.0
        return int(100.0 - (waking + (self.world.peak[i] - self.world.idle[i]) * (cpu / self.alloc[0][i])) / 4)

    def normal(self, raw: dict[int, int]) -> dict[int, int]:
        least, most = min(raw.values()), max(raw.values())
        if self.normalize == "clamp":
            return {i: min(max(v, 0), 100) for i, v in raw.items()}
        if self.normalize == "max":
            return {i: 100 * v // most if most else 0 for i, v in raw.items()}
        if self.normalize == "max-reverse":
            return {i: 100 - 100 * v // most if most else 100 for i, v in raw.items()}
        return {i: 100 * (v - least) // (most - least) if most > least else 0 for i, v in raw.items()}

    def place(self, cpu: int, share: int, weight: int) -> tuple[int, int]:
        ask = (cpu, 1 << 30)
        fits = [
            i
            for i in range(N)
            if all(self.used[r][i] + ask[r] <= self.alloc[r][i] for r in (0, 1))
            and share * (self.used[0][i] + cpu) <= self.alloc[0][i]
        ]
        if not fits:
            return -1, -1
        score = self.normal({i: self.raw(i, cpu) for i in fits})
        spare = {
            i: sum((self.alloc[r][i] - self.used[r][i] - ask[r]) * 100 // self.alloc[r][i] for r in (0, 1)) // 2
            for i in fits
        }
        total = {i: spare[i] + weight * score[i] for i in fits}
        best = max(total.values())
        node = next(i for i in fits if total[i] == best)
        for r in (0, 1):
            self.used[r][node] += ask[r]
        self.pods[node] += 1
        return node, best


@pytest.mark.parametrize("driver", ["dense", "indexed"])
@pytest.mark.parametrize("form", ["compiled", "vectorised"])
@pytest.mark.parametrize(
    ("normalize", "weight"), [("clamp", 1), ("clamp", 3), ("max", 1), ("max-reverse", 1), ("min-max", 2)]
)
def test_decisions_equal_those_by_hand(form: str, driver: str, normalize: str, weight: int) -> None:
    world = make_world(3)
    if normalize.startswith("max"):  # it takes no negative scores
        world.idle[:], world.peak[:] = world.idle / 2, world.peak / 4
        world.cluster.add_node_column("idle", world.idle)
        world.cluster.add_node_column("peak", world.peak)
    ks.filter_plugin(half_full, vectorized=form == "vectorised")
    chosen = profile(register(form, normalize), "half_full", weight=weight)
    plan = world.cluster.place(world.pods, profile=chosen, driver=driver)
    slow = Slow(world, normalize)
    expected = [slow.place(cpu, 2, weight) for cpu in world.cpu]
    assert list(zip(plan.node_index.tolist(), plan.scores.tolist(), strict=True)) == expected
    assert plan.n_placed > 0


def test_forms_and_drivers_agree_while_a_cluster_lives() -> None:
    """Columns and nodes change between placements; every life gives the same answers."""
    lives = []
    for form in ("compiled", "vectorised"):
        for driver in ("dense", "indexed"):
            world, seen = make_world(5, 40), []
            chosen = profile(register(form))
            rng = np.random.Generator(np.random.PCG64(9))
            for step in range(6):
                pods = [p | {"metadata": {"name": f"s{step}-{i}"}} for i, p in enumerate(world.pods)]
                plan = world.cluster.place(pods, profile=chosen, driver=driver)
                seen.append((plan.nodes, plan.scores.tolist(), plan.ties.tolist()))
                some = {f"node-{i:07d}": float(rng.integers(50, 300)) for i in rng.integers(1, N, 5).tolist()}
                world.cluster.add_node_column("idle", some)
                world.cluster.release([key for key in world.cluster.running if rng.random() < 0.3])
            lives.append(seen)
    assert lives[1:] == lives[:-1]


def test_the_default_profile_takes_a_plugin_through_the_index() -> None:
    default = ks.PROFILES["default-v1.36"]
    register("compiled")
    chosen = dataclasses.replace(default, name="mine", scores=(*default.scores, ks.ScorePlugin("energy")))
    world, other = make_world(7), make_world(7)
    engine = world.cluster._state.engine
    plan = world.cluster.place(world.pods, profile=chosen, driver="indexed")
    assert plan.scores.tolist() == other.cluster.place(other.pods, profile=chosen, driver="dense").scores.tolist()
    assert engine.nbytes > other.cluster._state.engine.nbytes  # it holds an index


def test_explanation_names_plugins_and_adds_up() -> None:
    world = make_world(11)
    ks.filter_plugin(half_full, reason="node(s) would be more than half full")
    chosen = profile(register("compiled"), "half_full", weight=2)
    world.cluster.place(world.pods[:100], profile=chosen)
    pod = make_pod("big").container(cpu="14", memory="1Gi").build()
    why = world.cluster.explain(pod, profile=chosen)
    refused = why.diagnosis.histogram()["node(s) would be more than half full"]
    assert refused > 0
    summary = world.cluster.summarize(pod, profile=chosen)
    assert summary.histogram == why.diagnosis.histogram()
    assert (summary.feasible, summary.best_score) == (why.feasible.size, why.verdicts.total.max())
    assert why.feasible.size > 0
    total = why.verdicts.score[0] + 2 * why.verdicts.score[1]
    assert np.array_equal(why.verdicts.total[why.feasible], total[why.feasible])
    assert world.cluster.place([pod], profile=chosen, commit=False).scores[0] == why.verdicts.total.max()
    too_big = make_pod("huge").container(cpu="60", memory="1Gi").build()
    message = world.cluster.place([too_big], profile=chosen, commit=False).reasons[0]
    assert "node(s) would be more than half full" in message


def test_labels_resources_and_devices_are_read() -> None:
    @ks.score_plugin(labels={"rack": "rack"}, resources={"fpga": "example.com/fpga"})
    def racks(node: Any, pod: Any) -> float:
        if np.isnan(node.rack):
            return 1.0
        return node.rack + node.allocatable.fpga - pod.request.fpga  # type: ignore[no-any-return]

    nodes = [make_node(f"n{i}").cpu("4").memory("8Gi").allocatable("example.com/fpga", "5") for i in range(3)]
    nodes[0].label("rack", "7")
    nodes[1].label("rack", "east")
    cluster = ks.Cluster.from_objects([node.build() for node in nodes])
    pod = make_pod("p").container(cpu="1", memory="1Gi", more={"example.com/fpga": "2"}).build()
    why = cluster.explain(pod, profile=ks.Profile("r", ("NodeResourcesFit",), (ks.ScorePlugin("racks"),)))
    assert why.verdicts.score[0].tolist() == [10, 1, 1]


def test_the_plugin_stays_a_function() -> None:
    made = ks.score_plugin(lambda node, pod: node + pod, name="sum")
    assert made(1, 2) == 3


def place_with(function: Callable[..., Any], **options: Any) -> str:
    """Place one pod with a score plugin that is wrong; returns the error."""
    cluster = ks.Cluster.synthetic(4, seed=1)
    cluster.place([make_pod("before").container(cpu="1", memory="1Gi").build()])
    used = cluster._state.engine.columns().used[0].copy()
    pods = [make_pod(f"p{i}").container(cpu="1", memory="1Gi").build() for i in range(3)]
    with pytest.raises(ks.PluginError) as caught:
        ks.score_plugin(function, name="wrong", **options)
        cluster.place(pods, profile=ks.Profile("w", ("NodeResourcesFit",), (ks.ScorePlugin("wrong"),)))
    assert np.array_equal(cluster._state.engine.columns().used[0], used)  # nothing was placed
    assert cluster.running == ["default/before"]
    assert "wrong" in str(caught.value)
    return str(caught.value)


def late(node: Any, pod: Any) -> float:
    if node.used.pods == 1:
        raise RuntimeError("too late")
    return 1.0


def late_columns(node: Any, pod: Any) -> Any:
    if np.any(node.used.pods == 1):
        raise RuntimeError("too late")
    return np.ones_like(node.used.pods + pod.request.cpu)


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        (lambda node: 1.0, {}, "has the wrong signature"),
        (lambda node, pod, more: 1.0, {}, "has the wrong signature"),
        (lambda node, *pods: 1.0, {}, "has the wrong signature"),
        (len, {}, "is not a function"),
        (lambda node, pod: node.colour, {}, "cannot be compiled by Numba: Unknown attribute 'colour'"),
        (lambda node, pod: "high", {}, "returns the wrong type"),
        (lambda node, pod: None if node.used.cpu > 0 else 1.0, {}, "returns the wrong type"),
        (lambda node, pod: 101.0, {}, "not allowed for node node-0000000, got 101.0, expected 0 to 100"),
        (lambda node, pod: 1.0 / node.used.ephemeral_storage, {}, "not allowed for node node-0000000, got inf"),
        (lambda node, pod: -1.0, {"normalize": "max"}, "got -1.0, expected 0 to 2^53"),
        (lambda node, pod: float("nan"), {"normalize": "clamp"}, "got nan, expected a number"),
        (late, {}, "raised RuntimeError: too late (node node-000000"),
        (late_columns, {"vectorized": True}, "raised RuntimeError: too late (node node-000000"),
        (lambda node, pod: np.zeros((2, 2)), {"vectorized": True}, "returned float64 of shape (2, 2)"),
        (lambda node, pod: "high", {"vectorized": True}, "raised TypeError"),
        (lambda node, pod: 1.0, {"columns": ("watts",)}, "reads a column that is not there, got 'watts'"),
        (lambda node, pod: 1.0, {"columns": ("used",)}, "cannot read a column or label so named"),
        (lambda node, pod: 1.0, {"labels": {"host": "kubernetes.io/hostname"}}, "reads a label that has no numbers"),
        (lambda node, pod: 1.0, {"resources": {"cpu": "x"}}, "cannot read a resource so named"),
        (lambda node, pod: 1.0, {"normalize": "minmax"}, "has an unknown normalisation"),
    ],
)
def test_what_goes_wrong_is_named(function: Callable[..., Any], options: dict[str, Any], said: str) -> None:
    assert said in place_with(function, **options)


def test_pods_that_look_at_others_meet_plugins_in_both_drivers() -> None:
    soft = {"maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"app": "a"}}}
    default = ks.PROFILES["default-v1.36"]
    ks.filter_plugin(half_full)
    scores = (*default.scores, ks.ScorePlugin(register("compiled")))
    chosen = dataclasses.replace(default, name="mine", filters=(*default.filters, "half_full"), scores=scores)
    plans = []
    for driver in ("dense", "indexed"):
        world = make_world(13, 80)
        for number, pod in enumerate(pods := world.pods):
            pod["metadata"]["labels"] = {"app": "a" if number % 2 else "b"}
            if number % 3 == 0:
                pod["spec"]["topologySpreadConstraints"] = [soft | {"topologyKey": "kubernetes.io/hostname"}]
        plan = world.cluster.place(pods, profile=chosen, driver=driver)
        plans.append((plan.nodes, plan.scores.tolist(), plan.ties.tolist(), plan.reasons))
    assert plans[0] == plans[1]
    assert None not in plans[0][0][:10]


def test_a_gang_in_which_a_plugin_fails_leaves_nothing_behind() -> None:
    cluster = ks.Cluster.synthetic(4, seed=1)
    ks.score_plugin(late)
    pod = make_pod("p").container(cpu="1", memory="1Gi").build()
    chosen = ks.Profile("w", ("NodeResourcesFit",), (ks.ScorePlugin("late"),))
    state = cluster._state
    classes = np.full(6, state.class_id(encode.pod_row(pod).shape), dtype=np.int32)
    options = native.Options(cluster._profile_id(chosen))
    with pytest.raises(ks.PluginError, match="too late"):
        spec = native.GroupSpec.anywhere(arrays.int32([0, 2, 4, 6]), arrays.int32([1, 2, 0]))
        state.engine.place_groups(options, spec, classes)
    assert not state.engine.columns().used[0].any()


def test_a_filter_must_return_a_boolean() -> None:
    cluster = ks.Cluster.synthetic(4)
    ks.filter_plugin(lambda node, pod: 1.5, name="wrong")
    with pytest.raises(ks.PluginError, match="returns the wrong type, got 'float64', expected a boolean"):
        cluster.place(
            [make_pod("p").container(cpu="1").build()], profile=ks.Profile("w", ("wrong",), (ks.ScorePlugin("Random"),))
        )


@pytest.mark.parametrize(
    ("filters", "score", "near"), [(("half_ful",), "Random", "half_full"), ((), "enrgy", "energy")]
)
def test_unknown_names_meet_the_nearest(filters: tuple[str, ...], score: str, near: str) -> None:
    register("compiled")
    ks.filter_plugin(half_full)
    with pytest.raises(ks.PluginError, match=f"did you mean '{near}'"):
        ks.Cluster.synthetic(1).place([], profile=ks.Profile("w", filters, (ks.ScorePlugin(score),)))


def test_built_in_names_are_taken() -> None:
    with pytest.raises(ks.PluginError, match="cannot have this name"):
        ks.score_plugin(energy, name="NodeAffinity")


def test_a_plugin_of_the_same_name_takes_the_place() -> None:
    cluster = ks.Cluster.synthetic(3)
    pod = make_pod("p").container(cpu="1", memory="1Gi").build()
    chosen = ks.Profile("w", ("NodeResourcesFit",), (ks.ScorePlugin("mine"),))
    for value in (10.0, 20.0):
        ks.score_plugin(_constant(value), name="mine")
        assert cluster.place([pod], profile=chosen, commit=False).scores[0] == value


def _constant(value: float) -> Callable[[Any, Any], float]:
    def constant(node: Any, pod: Any) -> float:
        return value

    return constant


def test_without_numba_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert "pip install 'kubesched[plugins]'" in place_with(lambda node, pod: 1.0)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("watts", [1.0], "has another length"),
        ("watts", ["a", "b", "c"], "is not made of numbers"),
        ("watts", {"nowhere": 1.0}, "names an unknown node"),
        ("no watts", [1.0, 2.0, 3.0], "cannot be an attribute"),
    ],
)
def test_columns_are_checked(name: str, values: Any, said: str) -> None:
    with pytest.raises(ks.InputError, match=said):
        ks.Cluster.synthetic(3).add_node_column(name, values)


def test_removed_and_new_nodes_have_no_number() -> None:
    @ks.score_plugin(columns=("watts",))
    def known(node: Any, pod: Any) -> float:
        return 0.0 if np.isnan(node.watts) else node.watts  # type: ignore[no-any-return]

    nodes = [make_node(f"n{i}").cpu("4").memory("8Gi").build() for i in range(4)]
    cluster = ks.Cluster.from_objects(nodes[:3])
    cluster.add_node_column("watts", [5, 6, 7])
    cluster.apply(ks.Delta(remove_nodes=["n1"], add_nodes=[nodes[3]]))
    pod = make_pod("p").container(cpu="1", memory="1Gi").build()
    chosen = ks.Profile("r", ("NodeResourcesFit",), (ks.ScorePlugin("known"),))
    shown = {row["node"]: row["known"] for row in cluster.explain(pod, profile=chosen).to_rows()}
    assert shown == {"n0": 5, "n2": 7, "n3": 0}
    assert cluster.snapshot().explain(pod, profile=chosen).best == ["n2"]
