# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - texts of kube-scheduler, whole
"""KubeSchedulerConfiguration: what is filled in, in which order plugins run, and what is refused, in which words."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

import kubesched as ks
from kubesched.framework import profile as profiles
from kubesched.scheduler.config import configuration, plugins, schema

HEAD = {"apiVersion": schema.API_VERSION, "kind": schema.KIND}
Obj = dict[str, Any]


def document(profile: Obj | None = None, **fields: Any) -> Obj:
    return HEAD | fields | ({} if profile is None else {"profiles": [profile]})


def with_args(plugin: str, **args: Any) -> Obj:
    return document({"pluginConfig": [{"name": plugin, "args": args}]})


def said(doc: Any) -> list[str]:
    return [str(problem) for problem in configuration.problems_of(doc)]


def points(**found: Obj) -> dict[str, list[str]]:
    read = configuration.parse(document({"plugins": found}))
    return {point: [name for name, _ in listed] for point, listed in read.profiles[0].points.items()}


def decides(profile: Obj | None = None, **fields: Any) -> profiles.Profile:
    return configuration.parse(document(profile, **fields)).decides.profiles[0][1]


# ---- defaults ----


def test_the_default_file_is_the_default_profile() -> None:
    made, wanted = configuration.default().decides.profiles, profiles.find(profiles.DEFAULT)
    ((name, profile),) = made
    assert name == profile.name == "default-scheduler"
    for field in ("filters", "scores", "hard_pod_weight", "ignore_existing_terms", "adapts"):
        assert getattr(profile, field) == getattr(wanted, field), field
    assert profile.node_percentage == 0


def test_what_is_written_out_reads_back_the_same() -> None:
    first = configuration.default()
    again = configuration.parse(yaml.safe_load(yaml.safe_dump(first.document)))
    assert again.document == first.document
    assert again.decides == first.decides


def test_defaults_of_every_field() -> None:
    doc = configuration.default().document
    assert {k: v for k, v in doc.items() if not isinstance(v, dict | list)} == {
        **HEAD,
        "parallelism": 16,
        "percentageOfNodesToScore": 0,
        "podInitialBackoffSeconds": 1,
        "podMaxBackoffSeconds": 10,
        "enableProfiling": True,
        "enableContentionProfiling": True,
        "delayCacheUntilActive": False,
    }
    assert doc["clientConnection"]["qps"] == 50
    assert doc["leaderElection"]["leaseDuration"] == "15s"
    args = {config["name"]: config["args"] for config in doc["profiles"][0]["pluginConfig"]}
    assert sorted(args) == list(args)
    assert args["NodeResourcesFit"]["scoringStrategy"] == {
        "type": "LeastAllocated",
        "resources": [{"name": "cpu", "weight": 1}, {"name": "memory", "weight": 1}],
    }
    assert args["PodTopologySpread"]["defaultingType"] == "System"
    assert args["DefaultPreemption"]["minCandidateNodesAbsolute"] == 100
    assert args["DynamicResources"]["bindingTimeout"] == "600s"


def test_zero_weights_are_defaulted_and_profiling_follows() -> None:
    args = {"scoringStrategy": {"type": "MostAllocated", "resources": [{"name": "cpu", "weight": 0}]}}
    assert decides({"pluginConfig": [{"name": "NodeResourcesFit", "args": args}]}).scores[2].resources == (("cpu", 1),)
    read = configuration.parse(document(enableProfiling=False))
    assert read.document["enableContentionProfiling"] is False


def test_defaulting_leaves_the_input_alone() -> None:
    doc = with_args("NodeResourcesFit", scoringStrategy={"type": "MostAllocated"})
    before = copy.deepcopy(doc)
    configuration.parse(doc)
    assert doc == before


# ---- plugins of the extension points ----


def test_multi_point_expands_to_what_upstream_expands_it_to() -> None:
    found = points()
    assert found["preEnqueue"] == ["SchedulingGates", "DynamicResources", "DefaultPreemption"]
    assert found["postFilter"] == ["DynamicResources", "DefaultPreemption"]
    assert found["reserve"] == found["preBind"] == ["VolumeBinding", "DynamicResources"]
    assert found["preScore"][-1] == "NodeResourcesBalancedAllocation"
    assert found["score"] == [
        "TaintToleration",
        "NodeAffinity",
        "NodeResourcesFit",
        "VolumeBinding",
        "PodTopologySpread",
        "InterPodAffinity",
        "DynamicResources",
        "NodeResourcesBalancedAllocation",
        "ImageLocality",
    ]
    assert (found["queueSort"], found["bind"]) == (["PrioritySort"], ["DefaultBinder"])


def test_a_named_plugin_is_replaced_in_place_and_a_new_one_comes_last() -> None:
    profile = decides({"plugins": {"multiPoint": {"enabled": [{"name": "NodeAffinity", "weight": 7}]}}})
    assert [(s.name, s.weight) for s in profile.scores][:2] == [("TaintToleration", 3), ("NodeAffinity", 7)]
    found = points(multiPoint={"enabled": [{"name": "GangScheduling"}]})
    assert found["preEnqueue"][-1] == "GangScheduling"


def test_an_extension_point_overrides_multi_point_and_runs_first() -> None:
    found = points(score={"enabled": [{"name": "ImageLocality", "weight": 5}]})
    assert found["score"][:2] == ["ImageLocality", "TaintToleration"]
    assert found["score"].count("ImageLocality") == 1
    profile = decides({"plugins": {"score": {"enabled": [{"name": "ImageLocality", "weight": 5}]}}})
    assert profile.scores[0] == profiles.ScorePlugin("ImageLocality", 5)


def test_disabled_and_enabled_again_goes_to_the_end() -> None:
    found = points(filter={"disabled": [{"name": "NodePorts"}]}, preFilter={"disabled": [{"name": "NodePorts"}]})
    assert "NodePorts" not in found["filter"] + found["preFilter"]
    both = {"disabled": [{"name": "TaintToleration"}], "enabled": [{"name": "TaintToleration"}]}
    assert points(filter=both)["filter"][-1] == "TaintToleration"


def test_star_disables_all_of_a_point_or_everywhere() -> None:
    star = [{"name": "*"}]
    found = points(score={"disabled": star, "enabled": [{"name": "ImageLocality"}]}, preScore={"disabled": star})
    assert found["score"] == ["ImageLocality"]
    few = [{"name": name} for name in ("PrioritySort", "NodeResourcesFit", "DefaultBinder")]
    profile = decides({"plugins": {"multiPoint": {"disabled": star, "enabled": few}}})
    assert profile.filters == ("NodeResourcesFit",)
    assert [s.name for s in profile.scores] == ["NodeResourcesFit"]


def test_weight_of_the_point_wins_over_multi_point() -> None:
    wide = {"enabled": [{"name": "NodeAffinity", "weight": 9}]}
    own = {"enabled": [{"name": "NodeAffinity", "weight": 4}]}
    profile = decides({"plugins": {"multiPoint": wide, "score": own}})
    assert {s.name: s.weight for s in profile.scores}["NodeAffinity"] == 4


def test_every_plugin_and_point_is_known() -> None:
    for name, known in plugins.REGISTRY.items():
        assert set(known) <= set(schema.POINTS), name


# ---- several profiles ----


def test_profiles_by_scheduler_name_and_the_percentage_of_each() -> None:
    two = [{"schedulerName": "a", "percentageOfNodesToScore": 0}, {"schedulerName": "b"}]
    read = configuration.parse(HEAD | {"profiles": two, "percentageOfNodesToScore": 70})
    assert [(name, p.node_percentage) for name, p in read.decides.profiles] == [("a", 0), ("b", 70)]


# ---- what is refused ----

FIT = "profiles[0].pluginConfig[0].args"
_BAD: list[tuple[Any, str]] = [
    ([], "document: has the wrong type, got [], expected a mapping"),
    ({"kind": schema.KIND}, f'apiVersion: is null, expected "{schema.API_VERSION}"'),
    (HEAD | {"kind": "Scheduler"}, f'kind: is "Scheduler", expected "{schema.KIND}"'),
    (document(paralelism=2), 'paralelism: unknown field (did you mean "parallelism"?)'),
    (document(parallelism="2"), 'parallelism: has the wrong type, got "2", expected an integer of 32 bits'),
    (document(parallelism=2**31), "parallelism: has the wrong type, got 2147483648, expected an integer of 32 bits"),
    (document(parallelism=True), "parallelism: has the wrong type, got true, expected an integer of 32 bits"),
    (document(parallelism=0), "parallelism: Invalid value: 0: should be an integer value greater than zero"),
    (document(profiles={}), "profiles: has the wrong type, got {}, expected a list"),
    (document(profiles=[None]), "profiles[0]: has the wrong type, got null, expected a mapping"),
    (document({"plugin": {}}), 'profiles[0].plugin: unknown field (did you mean "plugins"?)'),
    (
        document({"plugins": {"scores": {}}}),
        'profiles[0].plugins.scores: unknown field (did you mean "score"?)',
    ),
    (
        document({"plugins": {"score": {"enabled": [{"name": "NodeAffinty"}]}}}),
        'profiles[0].plugins.score.enabled[0]: ScorePlugin "NodeAffinty" does not exist (did you mean "NodeAffinity"?)',
    ),
    (
        document({"plugins": {"score": {"disabled": [{"name": "ImageLocalty"}]}}}),
        'profiles[0].plugins.score.disabled[0]: Invalid value: "ImageLocalty": plugin does not exist'
        ' (did you mean "ImageLocality"?)',
    ),
    (
        document({"plugins": {"score": {"enabled": [{"name": "NodePorts"}]}}}),
        'profiles[0].plugins.score.enabled[0]: plugin "NodePorts" does not extend ScorePlugin plugin',
    ),
    (
        document({"plugins": {"score": {"enabled": [{"name": "NodeAffinity"}, {"name": "NodeAffinity"}]}}}),
        'profiles[0].plugins.score: plugin "NodeAffinity" already registered as "ScorePlugin"',
    ),
    (document({"plugins": {"score": {"enabled": [{}]}}}), "profiles[0].plugins.score.enabled[0].name: Required value"),
    (
        document({"plugins": {"filter": {"enabled": [{"name": "EBSLimits"}]}}}),
        'profiles[0].plugins.filter.enabled[0]: Invalid value: "EBSLimits": was invalid in version'
        f' "{schema.API_VERSION}" (KubeSchedulerConfiguration is version "{schema.API_VERSION}")',
    ),
    (
        document({"plugins": {"queueSort": {"disabled": [{"name": "*"}]}}}),
        "profiles[0].plugins.queueSort: only one queue sort plugin required for profile with scheduler name"
        ' "default-scheduler", but got 0',
    ),
    (
        document({"plugins": {"bind": {"disabled": [{"name": "DefaultBinder"}]}}}),
        "profiles[0].plugins.bind: at least one bind plugin is needed for profile with scheduler name"
        ' "default-scheduler"',
    ),
    (
        document({"pluginConfig": [{"name": "NodeResourceFit"}]}),
        'profiles[0].pluginConfig[0]: Invalid value: "NodeResourceFit": plugin does not exist'
        ' (did you mean "NodeResourcesFit"?)',
    ),
    (
        document({"pluginConfig": [{"name": "InterPodAffinity"}, {"name": "InterPodAffinity"}]}),
        'profiles[0].pluginConfig[1]: Duplicate value: "InterPodAffinity"',
    ),
    (
        document({"pluginConfig": [{"name": "InterPodAffinity", "args": {"kind": "NodeAffinityArgs"}}]}),
        f"{FIT}.kind: args for plugin InterPodAffinity were not of type"
        " InterPodAffinityArgs.kubescheduler.config.k8s.io",
    ),
    (document(profiles=[{}, {"schedulerName": "x"}]), "profiles[0].schedulerName: Required value"),
    (
        document(profiles=[{"schedulerName": "x"}, {"schedulerName": "x"}]),
        'profiles[1].schedulerName: Duplicate value: "profiles[0].schedulerName"',
    ),
    (
        document(percentageOfNodesToScore=101),
        "percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]",
    ),
    (
        document({"percentageOfNodesToScore": -1}),
        "profiles[0].percentageOfNodesToScore: Invalid value: -1: not in valid range [0-100]",
    ),
    (document(podInitialBackoffSeconds=0), "podInitialBackoffSeconds: Invalid value: 0: must be greater than 0"),
    (
        document(podMaxBackoffSeconds=0),
        "podMaxBackoffSeconds: Invalid value: 0: must be greater than or equal to PodInitialBackoffSeconds",
    ),
    (document(clientConnection={"burst": -1}), "clientConnection.burst: Invalid value: -1: must be non-negative"),
    (
        document(leaderElection={"leaseDuration": "5s"}),
        'leaderElection.leaseDuration: Invalid value: "10s": LeaseDuration must be greater than RenewDeadline',
    ),
    (
        document(leaderElection={"retryPeriod": "5"}),
        'leaderElection.retryPeriod: has the wrong type, got "5", expected a duration such as 15s',
    ),
    (
        document(leaderElection={"resourceLock": "endpoints"}),
        'leaderElection.resourceLock: Invalid value: "endpoints": resourceLock value must be "leases"',
    ),
    # arguments
    (
        with_args("NodeResourcesFit", ignoredResource=["x"]),
        f'{FIT}.ignoredResource: unknown field (did you mean "ignoredResources"?)',
    ),
    (
        with_args("NodeResourcesFit", scoringStrategy={"type": "Least"}),
        f'{FIT}.scoringStrategy.type: Unsupported value: "Least": supported values: "LeastAllocated", "MostAllocated",'
        ' "RequestedToCapacityRatio"',
    ),
    (
        with_args(
            "NodeResourcesFit",
            scoringStrategy={"type": "LeastAllocated", "resources": [{"name": "cpu", "weight": 101}]},
        ),
        f"{FIT}.scoringStrategy.resources[0].weight: Invalid value: 101: resource weight of cpu not in valid range (0, 100]",
    ),
    (
        with_args("NodeResourcesFit", scoringStrategy={"type": "RequestedToCapacityRatio"}),
        f"{FIT}.scoringStrategy.requestedToCapacityRatio: Required value: must be specified when type is"
        " RequestedToCapacityRatio",
    ),
    (
        with_args("NodeResourcesFit", scoringStrategy={"type": "LeastAllocated", "requestedToCapacityRatio": {}}),
        f"{FIT}.scoringStrategy.requestedToCapacityRatio: Forbidden: must be nil when type is not RequestedToCapacityRatio",
    ),
    (
        with_args(
            "NodeResourcesFit", scoringStrategy={"type": "RequestedToCapacityRatio", "requestedToCapacityRatio": {}}
        ),
        f"{FIT}.scoringStrategy.requestedToCapacityRatio.shape: Required value: at least one point must be specified",
    ),
    (
        with_args("NodeResourcesFit", ignoredResourceGroups=["a.b/c"]),
        f"{FIT}.ignoredResourceGroups[0]: Invalid value: \"a.b/c\": resource group name can't contain '/'",
    ),
    (
        with_args("NodeResourcesFit", ignoredResources=["-"]),
        f"{FIT}.ignoredResources[0]: Invalid value: \"-\": name part must consist of alphanumeric characters, '-', '_' or"
        " '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex"
        " used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
    ),
    (
        with_args("NodeResourcesBalancedAllocation", resources=[{"name": "cpu", "weight": 2}]),
        f"{FIT}.resources[0].weight: Invalid value: 2: must be 1",
    ),
    (
        with_args("NodeResourcesBalancedAllocation", resources=[{"name": "cpu"}, {"name": "cpu"}]),
        f'{FIT}.resources[1].name: Duplicate value: "cpu"',
    ),
    (
        with_args("InterPodAffinity", hardPodAffinityWeight=101),
        f"{FIT}.hardPodAffinityWeight: Invalid value: 101: not in valid range [0, 100]",
    ),
    (
        with_args("DefaultPreemption", minCandidateNodesPercentage=101),
        f"{FIT}.minCandidateNodesPercentage: Invalid value: 101: not in valid range [0, 100]",
    ),
    (
        with_args("DefaultPreemption", minCandidateNodesAbsolute=-1),
        f"{FIT}.minCandidateNodesAbsolute: Invalid value: -1: not in valid range [0, inf)",
    ),
    (
        with_args("VolumeBinding", bindTimeoutSeconds=-1),
        f"{FIT}.bindTimeoutSeconds: Invalid value: -1: invalid BindTimeoutSeconds, should not be a negative value",
    ),
    (
        with_args("VolumeBinding", shape=[]),
        f"{FIT}.shape: Invalid value: []: unexpected field `shape`, remove it or turn on the feature gate"
        " StorageCapacityScoring",
    ),
    (
        with_args("DynamicResources", filterTimeout="-1s"),
        f'{FIT}.filterTimeout: Invalid value: "-1s": must be zero or positive',
    ),
    (
        with_args("DynamicResources", bindingTimeout="999ms"),
        f'{FIT}.bindingTimeout: Invalid value: "999ms": must be at least 1 second',
    ),
    (
        with_args("PodTopologySpread", defaultingType="Lists"),
        f'{FIT}.defaultingType: Unsupported value: "Lists": supported values: "System", "List"',
    ),
    (
        with_args(
            "PodTopologySpread",
            defaultConstraints=[{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway"}],
        ),
        f'{FIT}.defaultingType: Invalid value: "System": when .defaultConstraints are not empty',
    ),
    (
        with_args(
            "NodeAffinity",
            addedAffinity={
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]
                }
            },
        ),
        f"{FIT}.addedAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0]"
        ".values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
    ),
    (
        document(extenders=[{"urlPrefix": "http://x", "prioritizeVerb": "p"}]),
        "extenders[0].weight: Invalid value: 0: must have a positive weight applied to it",
    ),
    (
        document(extenders=[{"bindVerb": "b"}, {"bindVerb": "b"}]),
        'extenders: Invalid value: "found 2 extenders implementing bind": only one extender can implement bind',
    ),
    (
        document(extenders=[{"managedResources": [{"name": "cpu"}]}]),
        'extenders[0].managedResources[0].name: Invalid value: "cpu": is an invalid extended resource name',
    ),
    # valid, but not implemented
    (document(extenders=[{"urlPrefix": "http://x"}]), "extenders[0]: asking an extender is not implemented"),
    (
        document({"plugins": {"preFilter": {"disabled": [{"name": "NodePorts"}]}}}),
        "profiles[0].plugins.preFilter: NodePorts at filter without preFilter is not implemented",
    ),
    (
        document(
            {
                "plugins": {
                    "score": {"disabled": [{"name": "*"}], "enabled": [{"name": "VolumeBinding"}]},
                    "preScore": {"disabled": [{"name": "*"}], "enabled": [{"name": "VolumeBinding"}]},
                }
            }
        ),
        "profiles[0].plugins.score: VolumeBinding as the only plugin that scores is not implemented",
    ),
    (
        document({"plugins": {"score": {"enabled": [{"name": "ImageLocality", "weight": -1}]}}}),
        "profiles[0].plugins.score: weight -1 of ImageLocality (1 to 1000000) is not implemented",
    ),
]


@pytest.mark.parametrize(("doc", "text"), _BAD, ids=[text.split(":")[0] + f"-{i}" for i, (_, text) in enumerate(_BAD)])
def test_one_mistake_is_one_line(doc: Any, text: str) -> None:
    assert said(doc) == [text]
    with pytest.raises(ks.InputError) as caught:
        configuration.parse(doc, "s.yaml")
    assert str(caught.value) == f"s.yaml: {text}"
    assert isinstance(caught.value, ks.UnsupportedError) == text.endswith("is not implemented")


def test_a_list_constraint_names_each_mistake() -> None:
    bad = {"topologyKey": "", "whenUnsatisfiable": "Never", "labelSelector": {}, "maxSkew": 0}
    at = f"{FIT}.defaultConstraints[0]"
    assert said(with_args("PodTopologySpread", defaultingType="List", defaultConstraints=[bad])) == [
        f"{at}.maxSkew: Invalid value: 0: not in valid range (0, inf)",
        f"{at}.topologyKey: Required value: can not be empty",
        f'{at}.whenUnsatisfiable: Unsupported value: "Never": supported values: "DoNotSchedule", "ScheduleAnyway"',
        f"{at}.labelSelector: Forbidden: constraint must not define a selector, as they deduced for each pod",
    ]


def test_a_shape_must_rise_and_stay_in_range() -> None:
    shape = [{"utilization": 50, "score": 11}, {"utilization": 50, "score": 0}]
    strategy = {"type": "RequestedToCapacityRatio", "requestedToCapacityRatio": {"shape": shape}}
    at = f"{FIT}.scoringStrategy.requestedToCapacityRatio.shape"
    assert said(with_args("NodeResourcesFit", scoringStrategy=strategy)) == [
        f"{at}[1].utilization: Invalid value: 50: values must be sorted in increasing order",
        f"{at}[0].score: Invalid value: 11: not in valid range [0, 10]",
    ]


def test_preemption_must_look_at_something() -> None:
    found = said(with_args("DefaultPreemption", minCandidateNodesPercentage=0, minCandidateNodesAbsolute=0))
    assert [text.partition("cannot be zero")[1] for text in found] == ["cannot be zero"] * 2


def test_queue_sort_is_the_same_for_all_profiles() -> None:
    other = {"schedulerName": "b", "plugins": {"queueSort": {"enabled": [{"name": "PrioritySort"}]}}}
    found = said(document(profiles=[{"schedulerName": "a"}, other]))
    assert found == [
        'profiles[1].plugins.queueSort: Invalid value: {"enabled":[{"name":"PrioritySort"}]}:'
        " must be the same for all profiles"
    ]


def test_several_mistakes_are_counted() -> None:
    with pytest.raises(ks.InputError, match=r"s\.yaml: x: unknown field .* \(and 1 more\)"):
        configuration.parse(document(x=1, y=2), "s.yaml")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(document()))
    assert configuration.load(path).decides == configuration.default().decides
    path.write_text("a: 1\n---\nb: 2\n")
    with pytest.raises(ks.InputError, match="is not one document, got 2"):
        configuration.load(path)
    path.write_text("a: 1\na: 2\n")
    with pytest.raises(ks.InputError, match="has a key twice"):
        configuration.load(path)
