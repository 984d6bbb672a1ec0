# SPDX-License-Identifier: Apache-2.0
"""A case as what is done with a cluster: the objects that it starts from, then placements, releases and changes."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from kubesched.base import errors
from kubesched.bench.scenario import Case, Step
from kubesched.framework import profile as profiles
from kubesched.framework.profile import ProfileMap
from kubesched.scheduler.config import configuration

Object = dict[str, Any]
HOSTNAME_LABEL = "kubernetes.io/hostname"
ZONE_LABEL = "topology.kubernetes.io/zone"
_INDEX = "index"
_FORMULA = re.compile(r"\{(\w+)(?:([%/])(\w+))?\}")
_PACE = 500
"""Measured pods in a second of upstream where a case has no threshold (arbitrary: what the others have)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Place pods, one after another."""

    pods: list[str]
    """Keys, in order."""
    measured: bool
    expect: str = ""
    """``gated``: their gates hold them back; ``blocked``, ``attempted``: all, or some, wait for something to happen."""
    preempts: bool = False
    gang: int = 0
    """So many pods in a row are placed together or not at all; 0: each for itself."""
    topology: str = ""
    """Node label of which the pods of a gang share a value; empty: none."""
    is_behind: bool = False
    """Nothing behind it, nor itself, is measured."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete running pods; with ``terminating`` they go on running, but as pods that are being deleted."""

    pods: list[str]
    terminating: bool = False


@dataclass(frozen=True, slots=True)
class ChangeNodes:
    """Remove nodes by name, then put others in place of those of their names, then add some."""

    remove: list[str] = field(default_factory=list)
    update: list[Object] = field(default_factory=list)
    add: list[Object] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ChangePods:
    """Pods, running or not, become these; where they run they stay."""

    pods: list[Object]


@dataclass(frozen=True, slots=True)
class ChangeDevices:
    """ResourceSlices come."""

    slices: list[Object]
    measured: bool = False


Action = Place | Delete | ChangeNodes | ChangePods | ChangeDevices


@dataclass(slots=True)
class Program:
    """What there is before the first decision, and what happens then."""

    objects: list[Object] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    n_nodes: int = 0
    n_measured: int = 0
    preempts: bool = False
    has_devices: bool = False
    seed: int | None = None
    """Draws among equally good nodes; None: the lowest index."""
    profile: ProfileMap | str = profiles.DEFAULT
    drivers: dict[str, int] = field(default_factory=dict)


def build(case: Case) -> Program:
    """Resolve a case into objects and actions; deterministic. O(objects)."""
    return _Builder(case).run()


class _Builder:
    def __init__(self, case: Case) -> None:
        self._case = case
        self._resolved: dict[str, Mapping[str, Any]] = {}
        self._out = Program()
        self._background: list[Step] = []
        self._created: dict[str, int] = {}
        self._namespaces: dict[str, list[str]] = {}
        self._pods_in: dict[str, list[str]] = {}
        self._pods_of: dict[str, list[str]] = {}
        self._nodes_of: dict[str, list[str]] = {}
        """Names by template; keys of pods above."""

    def run(self) -> Program:
        last = max(at for at, step in enumerate(self._case.steps) if step.get("measured"))
        for at, step in enumerate(self._case.steps):
            if step.op == "createNodes":
                self._add_nodes(step)
            elif step.op == "createSlices":
                self._publish(step)
            elif step.op == "createNamespaces":
                self._add_namespaces(step)
            elif step.op == "createObjects":
                for _ in range(self._case.count(step)):
                    self._out.objects.append(self._new(step.args["template"], step.get("namespace", "")))
            elif step.op == "createPods":
                self._add_pods(step, f"step-{at}", is_behind=at > last)
            elif step.op == "updateNodes":
                self._update_nodes(step)
            elif step.op == "updatePods":
                self._update_pods(step)
            elif step.op == "deletePods" and "perSecond" not in step.args:
                self._delete_pods(step)
            else:
                self._background.append(step)
        self._out.has_devices |= any(obj["kind"] == "ResourceSlice" for obj in self._out.objects)
        if self._case.args:
            self._out.profile = _profile(self._case.args)
        self._out.seed = 0 if self._case.draws_ties else None
        return self._out

    # ---- objects ----

    def _template(self, name: str) -> Mapping[str, Any]:
        """Resolved once: objects share the parts that depend on the case alone."""
        found = self._resolved.get(name)
        if found is None:
            found = self._resolved[name] = resolve(self._case.templates[name], self._case.numbers)
        return found

    def _new(self, template: str, namespace: str, name: str = "") -> Object:
        index = self._created.get(template, 0)
        self._created[template] = index + 1
        obj = instantiate(self._template(template), index)
        return _named(obj, name or f"{template}-{index}", namespace)

    def _node(self, template: str, zone: str = "") -> Object:
        node = self._new(template, "", f"node-{self._out.n_nodes:06d}" if template != "full" else "")
        return self._labelled(node, zone)

    def _labelled(self, node: Object, zone: str = "") -> Object:
        metadata = node["metadata"]
        zoned = {ZONE_LABEL: zone} if zone else {}
        metadata["labels"] = {HOSTNAME_LABEL: metadata["name"], **zoned, **(metadata.get("labels") or {})}
        return node

    def _nodes(self, step: Step) -> Iterator[Object]:
        zones = step.get("zones") or [""]
        features = [f"Feature{i:03d}" for i in range(self._case.count(step, "features") if step.get("features") else 0)]
        for i in range(self._case.count(step)):
            node = self._node(step.args["template"], zones[i % len(zones)])
            if features:
                node["status"] = {**node["status"], "declaredFeatures": features}
            yield node
            if step.get("drivers"):
                yield _csi_node(node["metadata"]["name"], step.args["drivers"], step.get("migrated", ()))
            for template in step.get("slices", ()):
                yield self._slice(template, node["metadata"]["name"])
            self._out.n_nodes += 1

    def _add_nodes(self, step: Step) -> None:
        """Nodes that there are from the start; behind the first pods they come one by one."""
        made = list(self._nodes(step))
        self._nodes_of.setdefault(step.args["template"], []).extend(
            obj["metadata"]["name"] for obj in made if obj["kind"] == "Node"
        )
        if self._out.actions:
            self._out.actions += [ChangeNodes(add=[node]) for node in made]
        else:
            self._out.objects.extend(made)

    def _update_nodes(self, step: Step) -> None:
        for names in self._groups(step, self._nodes_of[step.args["of"]]):
            nodes = [self._labelled(self._new(step.args["template"], "", name)) for name in names]
            self._out.actions.append(ChangeNodes(update=nodes))

    def _update_pods(self, step: Step) -> None:
        for keys in self._groups(step, self._pods_of[step.args["of"]]):
            named = [key.partition("/") for key in keys]
            pods = [self._new(step.args["template"], namespace, name) for namespace, _, name in named]
            self._out.actions.append(ChangePods(pods))

    def _delete_pods(self, step: Step) -> None:
        """Pods of each template in turns."""
        turns = zip_longest(*(self._pods_of[template] for template in step.args["of"]))
        pods = [key for turn in turns for key in turn if key is not None]
        self._out.actions += [Delete(keys) for keys in self._groups(step, pods)]

    def _groups(self, step: Step, names: Sequence[str]) -> Iterator[list[str]]:
        """Those that one action concerns."""
        size = self._case.count(step, "atOnce") if step.get("atOnce") else 1
        return (list(names[at : at + size]) for at in range(0, len(names), size))

    def _publish(self, step: Step) -> None:
        """Slices of nodes that are there, one by one."""
        is_measured = step.get("measured", False)
        made = [
            self._slice(template, name) for name in self._nodes_of[step.args["of"]] for template in step.args["slices"]
        ]
        self._out.actions += [ChangeDevices([one], is_measured) for one in made]
        self._out.n_measured += len(made) if is_measured else 0
        self._out.has_devices = True

    def _slice(self, template: str, node: str) -> Object:
        """A ResourceSlice of a pool that only the node reaches."""
        made = self._new(template, "", f"{node}-{template}")
        spec = {name: value for name, value in made["spec"].items() if name != "nodeSelector"}
        return {**made, "spec": {**spec, "nodeName": node, "pool": {**spec["pool"], "name": node}}}

    def _add_namespaces(self, step: Step) -> None:
        prefix = step.args["prefix"]
        names = [f"{prefix}-{i}" for i in range(self._case.count(step))]
        self._namespaces[prefix] = names
        for name in names:
            metadata = {"name": name, "labels": dict(step.get("labels") or {})}
            self._out.objects.append({"kind": "Namespace", "metadata": metadata})

    def _pod(self, template: str, namespace: str, company: Sequence[str] = ()) -> str:
        """A pod, and an object of each template of its ``company``, with the pod's number."""
        index = self._created.get(template, 0)
        for other in company:
            obj = instantiate(self._template(other), index)
            self._out.objects.append(_named(obj, f"{other}-{index}", namespace))
        pod = self._new(template, namespace)
        self._out.objects.append(pod)
        key = f"{namespace}/{pod['metadata']['name']}"
        self._pods_in.setdefault(namespace, []).append(key)
        self._pods_of.setdefault(template, []).append(key)
        return key

    def _gang(self, step: Step, namespace: str, size: int) -> list[str]:
        """One pod with its company, or with a size the pods of a new PodGroup; they share their spec."""
        template, topology = step.args["template"], step.get("topology", "")
        if not size:
            return [self._pod(template, namespace, step.get("with", ()))]
        name = f"{template}-gang-{len(self._out.objects)}"
        constraints = {"schedulingConstraints": {"topology": [{"key": topology}]}} if topology else {}
        self._out.objects.append(
            {
                "apiVersion": "scheduling.k8s.io/v1alpha2",
                "kind": "PodGroup",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"schedulingPolicy": {"gang": {"minCount": size}}, **constraints},
            }
        )
        spec = {**self._template(template)["spec"], "schedulingGroup": {"podGroupName": name}}
        keys = [self._pod(template, namespace) for _ in range(size)]
        for pod in self._out.objects[-size:]:
            pod["spec"] = spec
        return keys

    # ---- actions ----

    def _add_pods(self, step: Step, default_namespace: str, is_behind: bool) -> None:
        spaces = self._namespaces[step.args["namespaces"]] if step.get("namespaces") else []
        size = self._case.count(step, "gang") if step.get("gang") else 0
        pods = [
            key
            for namespace in spaces or [step.get("namespace", default_namespace)]
            for _ in range(self._case.count(step))
            for key in self._gang(step, namespace, size)
        ]
        self._out.preempts |= step.get("preempts", False)
        expected = step.get("expect", "")
        place = Place(
            pods,
            step.get("measured", False),
            expect=expected,
            preempts=step.get("preempts", False),
            gang=size,
            topology=step.get("topology", ""),
            is_behind=is_behind,
        )
        self._out.n_measured += len(pods) if place.measured else 0
        if not place.measured or expected:
            self._out.actions.append(place)
            return
        if step.get("steady"):
            n = self._case.count(step, "steady")
            for at in range(0, len(pods), n):
                part = pods[at : at + n]
                self._out.actions += [Place(part, True), Delete(part)]
            return
        self._out.actions.extend(self._measured(place))

    def _measured(self, place: Place) -> Iterator[Action]:
        """The measured pods, with what goes on in the background at its times between them."""
        events = sorted(self._events(len(place.pods)), key=lambda event: event[0])
        done, run = 0, list[str]()
        for at, action in events:
            run.extend(place.pods[done:at])
            done = at
            if isinstance(action, str):
                run.append(action)
                continue
            if run:
                yield Place(run, True, preempts=place.preempts)
                run = []
            yield action
        run.extend(place.pods[done:])
        if run:
            yield Place(run, True, preempts=place.preempts, gang=place.gang, topology=place.topology)

    def _events(self, n: int) -> Iterator[tuple[int, str | Action]]:
        """(measured pods before it, a pod's key or an action) of every background step."""
        pace = self._case.threshold or _PACE
        for step in self._background:
            times = range(1, n * step.args["perSecond"] // pace + 1)
            at = [t * pace // step.args["perSecond"] for t in times]
            if step.op == "deletePods":
                pods = self._pods_in[step.args["namespace"]]
                yield from ((t, Delete([pod], step.get("finalizers", False))) for t, pod in zip(at, pods, strict=False))
            else:
                yield from self._churn(step, at)

    def _churn(self, step: Step, times: list[int]) -> Iterator[tuple[int, str | Action]]:
        self._out.preempts |= step.get("preempts", False)
        last: list[str] = []
        for t in times:
            for template in step.args["templates"]:
                kind = self._template(template)["kind"]
                if kind == "Pod":
                    yield t, self._pod(template, "churn")
                elif kind == "Node":
                    node = self._node(template)
                    yield t, ChangeNodes(last, add=[node])
                    last = [node["metadata"]["name"]] if step.get("recreate") else []
                # Nothing that decides looks at the other kinds once they select no pod.


def _profile(args: Mapping[str, Any]) -> ProfileMap:
    """The default profile with other arguments of plugins."""
    configs = [{"name": name, "args": of} for name, of in args.items()]
    document = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "profiles": [{"schedulerName": "default-scheduler", "pluginConfig": configs}],
    }
    return configuration.parse(document, "args").decides


def key_of(obj: Mapping[str, Any]) -> str:
    """``namespace/name``."""
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


def _named(obj: Object, name: str, namespace: str) -> Object:
    metadata = {"name": name, **(obj.get("metadata") or {})}
    if namespace:
        metadata["namespace"] = namespace
    return {**obj, "metadata": metadata}


def _csi_node(name: str, drivers: Mapping[str, int], migrated: Sequence[str]) -> Object:
    metadata: Object = {"name": name}
    if migrated:
        metadata["annotations"] = {"storage.alpha.kubernetes.io/migrated-plugins": ",".join(migrated)}
    counts = [{"name": driver, "nodeID": name, "allocatable": {"count": count}} for driver, count in drivers.items()]
    return {"kind": "CSINode", "metadata": metadata, "spec": {"drivers": counts}}


def resolve(template: Mapping[str, Any], numbers: Mapping[str, int]) -> Mapping[str, Any]:
    """A template whose formulas (see `scenario`) name nothing but the object's number any more.

    Raises
    ------
    InputError
        A formula names no number of the case, or divides by zero.
    """
    found: Mapping[str, Any] = _filled(template, numbers)
    return found


def instantiate(template: Mapping[str, Any], index: int) -> Object:
    """An object from a resolved template; parts without its number are shared with it."""
    made = _filled(template, {_INDEX: index})
    return dict(template) if made is template else copy.copy(made)


def _filled(value: Any, numbers: Mapping[str, int]) -> Any:
    if isinstance(value, str):
        text = _FORMULA.sub(lambda match: _computed(match, numbers), value)
        if text == value:
            return value
        return int(text[1:]) if text.startswith("=") and not _FORMULA.search(text) else text
    if isinstance(value, list):
        items = [_filled(item, numbers) for item in value]
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    if isinstance(value, Mapping):
        pairs = {_filled(name, numbers): _filled(item, numbers) for name, item in value.items()}
        same = pairs.keys() == value.keys() and all(pairs[name] is value[name] for name in value)
        return value if same else pairs
    return value


def _computed(formula: re.Match[str], numbers: Mapping[str, int]) -> str:
    """What ``{a}``, ``{a/b}`` or ``{a%b}`` comes to; itself as long as the object has no number."""
    left, operator, right = formula.groups()
    if _INDEX in (left, right) and _INDEX not in numbers:
        return formula[0]
    value = _operand(left, formula[0], numbers)
    by = 1 if operator is None else _operand(right, formula[0], numbers)
    if by == 0:
        raise errors.InputError(f"template: {formula[0]}", "divides by zero", right, "a number from 1")
    return str(value % by if operator == "%" else value // by)


def _operand(text: str, formula: str, numbers: Mapping[str, int]) -> int:
    if text.isdecimal():
        return int(text)
    if text not in numbers:
        raise errors.InputError(f"template: {formula}", "names no number of the case", text, ", ".join(numbers))
    return numbers[text]
