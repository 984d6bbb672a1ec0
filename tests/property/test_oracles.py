# SPDX-License-Identifier: Apache-2.0
"""The oracles themselves, by hand, where recorded decisions do not reach: other strategies, older formulas, objects
that no API server accepts, the GPU-share policies."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest

from tests import gpu_oracle, oracle
from tests.builders import make_node, make_pod, need, term


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("1.5Gi", Fraction(3, 2) * 2**30),
        ("100m", Fraction(1, 10)),
        ("12e-1", Fraction(6, 5)),
        ("2E", 2 * 10**18),
        ("2e3", 2000),
        (".5", Fraction(1, 2)),
        ("0.1n", Fraction(1, 10**9)),  # nothing is finer than a billionth
    ],
)
def test_quantities(text: str, value: Fraction | int) -> None:
    assert oracle.quantity(text) == value


@pytest.mark.parametrize("text", ["", "m", "1 Gi", "1KI", "0x1", "1/2", "1_0"])
def test_not_quantities(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        oracle.quantity(text)


# ---- strategies and formulas ----

NODE = make_node("n").cpu("1").memory("1000").allocatable("ephemeral-storage", "8").build()


def score_of(plugin: str, profile: oracle.Profile, cpu: str, memory: str) -> int:
    pod = make_pod("p").container(cpu, memory).build()
    got = oracle.decide(pod, oracle.build([NODE], []), profile)
    return int(got["scores"][0][got["scorePlugins"].index(plugin)])


FIT, BALANCED = "NodeResourcesFit", "NodeResourcesBalancedAllocation"
WEIGHTED = (("cpu", 3), ("memory", 1))


def test_least_and_most_allocated() -> None:
    assert score_of(FIT, oracle.Profile(resources=WEIGHTED), "500m", "250") == (3 * 50 + 75) // 4
    most = oracle.Profile(strategy="MostAllocated", resources=WEIGHTED)
    assert score_of(FIT, most, "500m", "250") == (3 * 50 + 25) // 4
    three = oracle.Profile(resources=(("cpu", 1), ("memory", 1), ("ephemeral-storage", 1)))
    assert score_of(FIT, three, "500m", "250") == (50 + 75 + 100) // 3  # not asked for, yet not a scalar: it counts
    scalar = oracle.Profile(resources=(("cpu", 1), ("memory", 1), ("example.com/x", 9)))
    assert score_of(FIT, scalar, "500m", "250") == (50 + 75) // 2


@pytest.mark.parametrize(
    ("shape", "cpu", "memory", "score"),
    [
        (((0, 0), (100, 10)), "370m", "380", 38),  # the mean 37.5 is rounded, not truncated
        (((0, 0), (100, 10)), "370m", "0", 37),  # a resource that scores 0 does not count
        (((0, 0), (100, 10)), "0", "0", 0),
        (((0, 10), (30, 0)), "70m", "70", 77),  # 100 - 700 / 30, truncated toward zero
        (((20, 5), (30, 7)), "10m", "900", 60),  # constant outside: 50 and 70
    ],
)
def test_requested_to_capacity_ratio(shape: tuple[tuple[int, int], ...], cpu: str, memory: str, score: int) -> None:
    assert score_of(FIT, oracle.Profile(strategy="RequestedToCapacityRatio", shape=shape), cpu, memory) == score


def test_balanced_allocation_of_both_releases() -> None:
    # Fractions 1/2 and 1/4: deviation 1/8.
    assert score_of(BALANCED, oracle.Profile(release="v1.35"), "500m", "250") == 87
    assert score_of(BALANCED, oracle.Profile(), "500m", "250") == 50 + (50 + 87 - 100) // 2
    # 1/2, 1/4 and 0: variance 1/24, deviation 0.2041.
    three = oracle.Profile(release="v1.35", balanced=("cpu", "memory", "ephemeral-storage"))
    assert score_of(BALANCED, three, "500m", "250") == 79
    assert score_of(BALANCED, oracle.Profile(release="v1.35", balanced=("cpu",)), "500m", "250") == 100


def test_pods_without_requests_skip_balanced_allocation() -> None:
    got = oracle.decide(make_pod("p").container("0", "0").build(), oracle.build([NODE], []))
    assert BALANCED not in got["scorePlugins"]


# ---- selectors that cannot be parsed ----


def feasible(pod: oracle.Obj, *nodes: oracle.Obj) -> list[int]:
    return list(oracle.decide(pod, oracle.build(list(nodes), []))["feasible"])


@pytest.mark.parametrize(
    "unreadable",
    [
        need("k", "Gt", "junk"),
        need("k", "Gt", "-9"),  # an integer, but no label value
        need("k", "NotIn", "a b"),
        need("k", "Lt", "9223372036854775808"),
        need("k", "In"),
        need("k", "Exists", "a"),
        need("k", "Near", "a"),
    ],
)
def test_an_unreadable_requirement(unreadable: oracle.Obj) -> None:
    """Required: its term matches nothing, other terms do. Preferred: scoring fails, which one feasible node avoids."""
    nodes = [make_node(f"node-{i}").label("k", "5").build() for i in range(2)]
    pod = make_pod("p").container().require(term(unreadable))
    assert feasible(pod.build(), *nodes) == []
    assert feasible(pod.require(term(unreadable), term(need("k", "Exists"))).build(), *nodes) == [0, 1]
    preferring = make_pod("p").container().prefer(1, term(unreadable)).build()
    assert "error" in oracle.decide(preferring, oracle.build(nodes, []))
    assert oracle.decide(preferring, oracle.build(nodes[:1], []))["best"] == [0]


def test_two_names_in_one_field_restrict_but_never_match() -> None:
    names = need("metadata.name", "In", "node-0", "node-1")
    got = oracle.decide(
        make_pod("p").container().require(term(fields=(names,))).build(),
        oracle.build([make_node(f"node-{i}").build() for i in range(3)], []),
    )
    assert got["preFilter"]["nodes"] == [0, 1]
    assert [status[0] for status in got["status"]] == ["NodeAffinity", "NodeAffinity", "PreFilterResult"]


# ---- resizes of the whole pod ----


@pytest.mark.parametrize(("reason", "cpu"), [("", 3000), ("Deferred", 3000), ("Infeasible", 2000)])
def test_pod_level_resize(reason: str, cpu: int) -> None:
    pod = make_pod("p").container("1").pod_level("3").on("n").build()
    pod["status"] = {"resources": {"requests": {"cpu": "2"}}, "allocatedResources": {"cpu": "1"}}
    if reason:
        pod["status"]["conditions"] = [{"type": "PodResizePending", "reason": reason}]
    assert oracle.real(pod) == {"cpu": cpu}
    assert oracle.real(pod, from_status=False) == {"cpu": 3000}


# ---- preemption ----


def test_preemption_never_and_not_yet() -> None:
    there = make_pod("r").container("1").on("n").build()
    nodes = oracle.build([NODE], [there])
    wanted = make_pod("p").container("1")
    assert oracle.decide(wanted.build(), nodes)["preemption"]["message"] == (
        "no new claims to deallocate, preemption: 0/1 nodes are available: "
        "1 No preemption victims found for incoming pod."
    )
    with pytest.raises(NotImplementedError):
        oracle.decide(wanted.priority(1).build(), nodes)
    assert oracle.decide(wanted.never_preempts().build(), nodes)["preemption"]["message"] == (
        "no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never."
    )


def test_no_nodes() -> None:
    assert oracle.decide(make_pod("p").container().build(), [])["message"] == "no nodes available to schedule pods"


# ---- GPU-share policies ----

HALF = gpu_oracle.Pod(8000, 0, 1, 500)
TWO = gpu_oracle.Pod(8000, 0, 2, 1000)
USED = gpu_oracle.Node(64000, 0, [1000, 500])
ONE_WHOLE: gpu_oracle.Typical = [(gpu_oracle.Pod(1000, 0, 1, 1000), 1.0)]


@pytest.mark.parametrize(
    ("policy", "score"),
    [
        ("random", 0),
        ("bestfit", 71),  # 100 x (1 - 56/128/2 - 1/8/2)
        ("dotprod", 97),  # 100 x (1 - (1/2 x 1/16 + 3/16 x 1/16) / 2)
        ("packing", 95),  # half of a used device left
        ("clustering", 45),  # 25 + 25 x 6500 / 8000
        ("fgd", 62),  # fragmentation falls from 500 to 0: 1 / (1 + e^-0.5)
    ],
)
def test_scores_of_a_share(policy: str, score: int) -> None:
    assert gpu_oracle.score(policy, USED, HALF, ONE_WHOLE) == score


def test_devices_of_a_share() -> None:
    assert gpu_oracle.choices("random", USED, HALF, ONE_WHOLE) == [[0], [1]]
    assert gpu_oracle.choices("packing", USED, HALF, ONE_WHOLE) == [[1]]
    assert gpu_oracle.choices("fgd", USED, HALF, ONE_WHOLE) == [[1]]
    spoilt = [(gpu_oracle.Pod(1000, 0, 1, 400), 1.0)]  # either device serves it afterwards: the first one is taken
    assert gpu_oracle.choices("fgd", gpu_oracle.Node(64000, 0, [900, 900]), HALF, spoilt) == [[0]]


def test_whole_devices_are_the_lowest_free_ones() -> None:
    node = gpu_oracle.Node(64000, 0, [1000, 999, 1000, 1000])
    for policy in gpu_oracle.POLICIES:
        assert gpu_oracle.choices(policy, node, TWO, ONE_WHOLE) == [[0, 2]]


@pytest.mark.parametrize(
    ("kinds", "score"), [({}, 45), ({"share": 3}, 95), ({"share": 1, "2-gpu": 1}, 70), ({"2-gpu": 2}, 20)]
)
def test_clustering(kinds: dict[str, int], score: int) -> None:
    assert gpu_oracle.clustering(gpu_oracle.Node(64000, 0, [1000, 500], "", kinds), HALF) == score


@pytest.mark.parametrize(
    ("left", "score"), [([1000] * 8, 25), ([1000] * 20, 20), ([1000, 1000, 0], 48), ([1000, 1000], 31)]
)
def test_packing_of_whole_devices(left: list[int], score: int) -> None:
    assert gpu_oracle.packing(gpu_oracle.Node(64000, 0, left), TWO) == score


def test_fragmentation_by_class() -> None:
    typical = [
        (gpu_oracle.Pod(1000, 0, 1, 600), 0.5),  # satisfied: the device with 500 is of no use to it
        (gpu_oracle.Pod(1000, 0, 2, 1000), 0.25),  # lacks devices: all 1500
        (gpu_oracle.Pod(99000, 0, 1, 100), 0.125),  # lacks cpu: all
        (gpu_oracle.Pod(1000), 0.125),  # wants no device: all
    ]
    assert gpu_oracle.fragmented(USED, typical) == 0.5 * 500 + 0.5 * 1500
    elsewhere = [(gpu_oracle.Pod(1000, 0, 1, 100, "A|B"), 1.0)]
    assert gpu_oracle.fragmented(USED, elsewhere) == 1500.0


def test_typical_pods_and_their_order() -> None:
    a, b, c = gpu_oracle.Pod(1), gpu_oracle.Pod(2, 0, 1, 500, "A"), gpu_oracle.Pod(2, 0, 1, 500, "B")
    rare = gpu_oracle.Pod(9)
    pods = [a] * 9 + [b] * 5 + [c] * 5 + [rare]
    found = gpu_oracle.typical_pods(pods)
    assert [pod for pod, _ in found] == [a, c, b]  # 19 of 20 are 95 %
    assert [f for _, f in found] == pytest.approx([9 / 19, 5 / 19, 5 / 19], rel=1e-15)
    assert len(gpu_oracle.typical_pods([*pods, rare])) == 4  # 19 of 21 are not
    with_memory = [gpu_oracle.Pod(1, memory) for memory in range(10)]
    assert gpu_oracle.typical_pods(with_memory) == [(a, 1.0)]


def test_models() -> None:
    node = gpu_oracle.Node(1000, 0, [1000], "A")
    assert [gpu_oracle.accessible(node, gpu_oracle.Pod(0, 0, 1, 1, m)) for m in ("", "A", "B|A", "B", "|")] == [
        True,
        True,
        True,
        False,
        True,
    ]
    assert not gpu_oracle.accessible(gpu_oracle.Node(1000, 0, [1000]), gpu_oracle.Pod(0, 0, 1, 1, "A"))


def test_taking_off_is_putting_on_backwards() -> None:
    node = gpu_oracle.Node(64000, 8, [1000, 500], "A", {"share": 1})
    gpu_oracle.take(node, TWO, [0])
    gpu_oracle.take(node, HALF, [1])
    assert (node.cpu, node.left, node.kinds) == (48000, [0, 0], {"share": 2, "2-gpu": 1})
    gpu_oracle.take(node, TWO, [0], -1)
    gpu_oracle.take(node, HALF, [1], -1)
    assert node == gpu_oracle.Node(64000, 8, [1000, 500], "A", {"share": 1})


def test_stretching_best_fit_keeps_the_best() -> None:
    """Every pair of scores is kept apart and in order, whatever the range: so is the set of best nodes."""
    for low in range(101):
        for high in range(low + 1, 101):
            spread = gpu_oracle.stretched(list(range(low, high + 1)))
            assert spread[0] == 0
            assert spread[-1] == 100
            assert all(b > a for a, b in itertools.pairwise(spread))
    assert gpu_oracle.stretched([7, 7]) == [0, 0]
