# SPDX-License-Identifier: Apache-2.0
"""Profiles: which filters and score plugins decide, with weights and arguments.

``default-v1.36`` is kube-scheduler's default profile of that release as far as it is implemented; profiles are
versioned because formulas change between releases. The research policies are the ones that Weng et al. (ATC 2023)
compare; they differ in one score plugin and in which device of a node a share takes.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kubesched.base import errors
from kubesched.framework import plugins
from kubesched.framework.adapts import Adapts
from kubesched.kernel import arrays, native
from kubesched.state import live, rows
from kubesched.state.claims import Scored

DEFAULT = "default-v1.36"


@dataclass(frozen=True, slots=True)
class ScorePlugin:
    """A score plugin of a profile.

    Parameters
    ----------
    name
        Upstream's plugin name, or a policy's.
    weight
        Factor of the normalised score.
    variant
        Scoring strategy of NodeResourcesFit, or formula of NodeResourcesBalancedAllocation.
    resources
        (resource, weight) that the plugin scores.
    shape
        (utilization, score) points of RequestedToCapacityRatio; utilization 0..100, score 0..10.
    """

    name: str
    weight: int = 1
    variant: str = ""
    resources: tuple[tuple[str, int], ...] = ()
    shape: tuple[tuple[int, int], ...] = ()


_CPU_AND_MEMORY = ((rows.CPU, 1), (rows.MEMORY, 1))
PODS_COUNT = "PodGroupPodsCount"
_PLACEMENT_SCORES = (ScorePlugin("NodeResourcesFit", 1, "MostAllocated", _CPU_AND_MEMORY), ScorePlugin(PODS_COUNT, 1))
"""What kube-scheduler compares placements by where its feature gates for groups are on."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything that decides, by name."""

    name: str
    filters: tuple[str, ...]
    scores: tuple[ScorePlugin, ...]
    device_select: str = "best-fit"
    tie: str = "lowest"
    """``lowest`` index, or ``uniform``: drawn from the seeded generator even when the caller gives no seed."""
    summary: str = field(default="", compare=False)
    hard_pod_weight: int = 1
    """InterPodAffinity's hardPodAffinityWeight, 0..100."""
    ignore_existing_terms: bool = False
    """Its ignorePreferredTermsOfExistingPods."""
    adapts: Adapts = field(default_factory=Adapts)
    evicts: bool = True
    """Whether DefaultPreemption may be asked for room."""
    candidates: tuple[int, int] = (100, 0)
    """DefaultPreemption's ``minCandidateNodesPercentage`` and ``minCandidateNodesAbsolute``."""
    node_percentage: int = 100
    """``percentageOfNodesToScore``: the search ends when so many nodes are feasible; 0: adaptive."""
    placement_scores: tuple[ScorePlugin, ...] = _PLACEMENT_SCORES
    """How placements of groups with a topology compare: NodeResourcesFit, always MostAllocated; PodGroupPodsCount."""
    generates_placements: bool = True
    """Whether TopologyPlacementGenerator is on; without it groups with a topology are refused."""

    @property
    def score_names(self) -> tuple[str, ...]:
        return tuple(plugin.name for plugin in self.scores)

    @property
    def ends_early(self) -> bool:
        """Whether a search may end before every node was looked at; without scores the first feasible node will do."""
        return self.node_percentage != 100 or not self.scores


@dataclass(frozen=True, slots=True)
class ProfileMap:
    """Profiles of one scheduler, by scheduler name: a pod chooses with ``spec.schedulerName``."""

    profiles: tuple[tuple[str, Profile], ...]

    def of(self, pod: rows.PodRow) -> Profile:
        """The profile of a pod.

        Raises
        ------
        InputError
            No profile has the pod's scheduler name.
        """
        for name, profile in self.profiles:
            if name == pod.scheduler_name:
                return profile
        known = ", ".join(name for name, _ in self.profiles)
        raise errors.InputError(
            f"Pod {pod.key}: spec.schedulerName", "has no profile", pod.scheduler_name, f"one of {known}"
        )


_DEFAULT_FILTERS = (
    "NodeUnschedulable",
    "NodeName",
    "TaintToleration",
    "NodeAffinity",
    "NodePorts",
    "NodeResourcesFit",
)
_ALL_FILTERS = (
    *_DEFAULT_FILTERS,
    "VolumeRestrictions",
    "NodeVolumeLimits",
    "VolumeBinding",
    "VolumeZone",
    "PodTopologySpread",
    "InterPodAffinity",
    "DynamicResources",
    "NodeDeclaredFeatures",
)


def _default(release: str) -> tuple[ScorePlugin, ...]:
    """Score plugins in profile order. Source: apis/config/v1/default_plugins.go."""
    return (
        ScorePlugin("TaintToleration", 3),
        ScorePlugin("NodeAffinity", 2),
        ScorePlugin("NodeResourcesFit", 1, "LeastAllocated", _CPU_AND_MEMORY),
        ScorePlugin("PodTopologySpread", 2),
        ScorePlugin("InterPodAffinity", 2),
        ScorePlugin("DynamicResources", 2),
        ScorePlugin("NodeResourcesBalancedAllocation", 1, release, _CPU_AND_MEMORY),
        ScorePlugin("ImageLocality", 1),
    )


def _policy(name: str, plugin: str, summary: str, device_select: str = "best-fit", tie: str = "lowest") -> Profile:
    filters = (*_DEFAULT_FILTERS, "GpuShare")
    return Profile(name, filters, (ScorePlugin(plugin),), device_select, tie, summary)


_ALL = (
    Profile(
        DEFAULT,
        _ALL_FILTERS,
        _default("v1.36"),
        summary="kube-scheduler 1.36, default plugins",
    ),
    Profile(
        "default-v1.35",
        _ALL_FILTERS,
        _default("v1.35"),
        summary="the same with the balanced-allocation formula up to 1.35",
    ),
    Profile(
        "node-local",
        ("NodeResourcesFit",),
        (
            ScorePlugin("NodeResourcesFit", 1, "LeastAllocated", _CPU_AND_MEMORY),
            ScorePlugin("NodeResourcesBalancedAllocation", 1, "v1.36", _CPU_AND_MEMORY),
        ),
        summary="resources only: LeastAllocated and balanced allocation",
    ),
    _policy("random", "Random", "any feasible node, any fitting device", "random", "uniform"),
    _policy("dotprod", "DotProduct", "least aligned with what is free (after Tetris)"),
    _policy("clustering", "GpuClustering", "pods of one kind together (after Gandiva)"),
    _policy("packing", "GpuPacking", "shared devices first, then used nodes (after AntMan)"),
    _policy("bestfit", "BestFit", "least left over"),
    _policy("fgd", "FGD", "least growth of fragmentation", "fgd"),
)

PROFILES: dict[str, Profile] = {profile.name: profile for profile in _ALL}
POLICIES = ("random", "dotprod", "clustering", "packing", "bestfit", "fgd")
"""The research policies, in the order of the published tables."""


def find(name: str) -> Profile:
    """Look a profile up by name.

    Raises
    ------
    InputError
        Unknown; names the nearest known one.
    """
    profile = PROFILES.get(name)
    if profile is None:
        near = difflib.get_close_matches(name, PROFILES, 1, 0.0)
        known = ", ".join(PROFILES)
        raise errors.InputError("profile", f"is unknown (did you mean {near[0]!r}?)", name, f"one of {known}")
    return profile


def register(state: live.ClusterState, profile: Profile) -> int:
    """Add a profile to the state's engine and return its engine id."""
    filters = [native.FILTERS[name] for name in profile.filters if name in native.FILTERS]
    named = (name for name in profile.filters if name not in native.FILTERS)
    users = [plugins.register(state, plugins.find(name, is_filter=True)) for name in named]
    scores = [_score_spec(state, plugin) for plugin in profile.scores]
    select = native.DEVICE_SELECTS[profile.device_select]
    weight, ignore = profile.hard_pod_weight, profile.ignore_existing_terms
    share = profile.node_percentage or native.ADAPTIVE
    placements = {plugin.name: plugin for plugin in profile.placement_scores}
    fit = placements.get("NodeResourcesFit")
    number = state.engine.add_profile(
        filters,
        scores,
        select,
        weight,
        ignore,
        users,
        native.Search(share, profile.candidates),
        placement_fit=None if fit is None else _score_spec(state, fit),
        placement_pods_weight=placements[PODS_COUNT].weight if PODS_COUNT in placements else 0,
    )
    state.filters_of[number] = frozenset(profile.filters)
    state.scored_of[number] = Scored(
        _extended(profile.scores), _extended(profile.scores, "NodeResourcesBalancedAllocation")
    )
    return number


def _extended(scores: Sequence[ScorePlugin], of: str = "") -> frozenset[str]:
    """Extended resources that scores look at, or one of them does."""
    return frozenset(name for one in scores if of in ("", one.name) for name, _ in one.resources if "/" in name)


def _score_spec(state: live.ClusterState, plugin: ScorePlugin) -> native.ScoreSpec:
    if plugin.name not in native.SCORES:
        user = plugins.find(plugin.name, is_filter=False)
        return native.ScoreSpec(plugin=plugins.register(state, user), weight=plugin.weight)
    variants = native.FIT_STRATEGIES | native.BALANCED_FORMULAS
    weighted = plugin.name == "NodeResourcesFit"
    points = plugin.shape
    return native.ScoreSpec(
        plugin=native.SCORES[plugin.name],
        weight=plugin.weight,
        variant=variants[plugin.variant] if plugin.variant else 0,
        resource=arrays.int32([state.names.resource_id(name) for name, _ in plugin.resources]),
        resource_weight=arrays.int64([weight for _, weight in plugin.resources]) if weighted else None,
        utilization=arrays.int64([u for u, _ in points]) if points else None,
        # The configuration scores 0..10; the plugin works in 0..100.
        shape_score=np.array([10 * s for _, s in points], dtype=np.int64) if points else None,
    )


def users_of(profile: Profile) -> tuple[plugins.UserPlugin, ...]:
    """Users' plugins that the profile names, as they are registered now.

    Raises
    ------
    PluginError
        A name is neither built in nor registered.
    """
    filters = [plugins.find(name, is_filter=True) for name in profile.filters if name not in native.FILTERS]
    scores = [plugins.find(name, is_filter=False) for name in profile.score_names if name not in native.SCORES]
    return (*filters, *scores)
