# SPDX-License-Identifier: Apache-2.0
"""Scenario files: cases as data. Strict: an unknown word, a missing template or number is an error that names it.

A file holds ``about``, ``templates`` and ``cases``. Templates are Kubernetes objects without names; in their strings
``{index}`` stands for the object's number, ``{measured}`` for a number of the case's size, ``{index%25}`` and
``{30000/measured}`` for what they come to; ``=8{index}`` is not a string, but that number. A case has
``sizes``, each with its ``numbers`` and the throughput ``threshold`` (pods a second) of upstream's CI, ``steps`` that
name those numbers, and maybe ``args``: arguments of plugins by name, as in a KubeSchedulerConfiguration, and
``ties: drawn``: equally good nodes are drawn from a seed, where taking the first of them would fill one up:

========================  ============================================================================================
createNodes               ``count``, ``template``; ``zones`` are dealt out one by one; ``drivers``: volume limit of
                          each CSI driver; ``migrated``: in-tree plugins that CSI drivers took over; ``features``: so
                          many declared features; ``slices``: templates of ResourceSlices that each node gets
createSlices              ``of``: each node of this template gets, one after another, a ResourceSlice of each of
                          ``slices``; ``measured``: slices count instead of pods
createNamespaces          ``count``, ``prefix``; ``labels``
createObjects             ``count``, ``template``; ``namespace``
createPods                ``count``, ``template``; ``namespace``, or ``namespaces``: the prefix of created ones, each
                          gets ``count``; ``measured``; ``expect``: ``gated``, or they wait for something to happen:
                          ``blocked`` all, ``attempted`` some; ``preempts``: has to evict;
                          ``gang``: so many pods each time, in a PodGroup that is placed as a whole or not at all;
                          ``topology``: a node label, of which the pods of a gang share a value;
                          ``with``: templates of objects that each pod gets one of, with its number and namespace;
                          ``steady``: whenever so many are placed, they are deleted
churn                     ``templates``, ``perSecond``; ``recreate``: the last one is deleted first; ``preempts``
deletePods                ``namespace``, ``perSecond``; ``finalizers``: they go on running, terminating. Or ``of``: the
                          pods of these templates, in turns; ``atOnce``: so many before the next decision
updateNodes, updatePods   ``of``: the nodes or pods of this template, in order; ``template``: what they become;
                          ``atOnce``
========================  ============================================================================================

``churn`` and ``deletePods`` with a rate go on while the measured pods that follow are placed. Their rates are per
second of upstream: a second is as many measured pods as the case's threshold. Nodes that come behind the first pods,
and what else happens, happens to one object after another (or to ``atOnce``: kube-scheduler takes some milliseconds
for a decision, and more than one thing happens meanwhile), with decisions of those whose turn it is in between. Pods
behind the last measured step show what it led to; their time does not count.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

from kubesched.base import errors

_STEPS: dict[str, tuple[dict[str, type | tuple[type, ...]], tuple[str, ...]]] = {
    "createNodes": (
        {
            "count": (int, str),
            "template": str,
            "zones": list,
            "drivers": dict,
            "migrated": list,
            "features": (int, str),
            "slices": list,
        },
        ("count", "template"),
    ),
    "createSlices": ({"of": str, "slices": list, "measured": bool}, ("of", "slices")),
    "createNamespaces": ({"count": (int, str), "prefix": str, "labels": dict}, ("count", "prefix")),
    "createObjects": ({"count": (int, str), "template": str, "namespace": str}, ("count", "template")),
    "createPods": (
        {
            "count": (int, str),
            "template": str,
            "namespace": str,
            "namespaces": str,
            "measured": bool,
            "expect": str,
            "preempts": bool,
            "gang": (int, str),
            "topology": str,
            "with": list,
            "steady": (int, str),
        },
        ("count", "template"),
    ),
    "churn": ({"templates": list, "perSecond": int, "recreate": bool, "preempts": bool}, ("templates", "perSecond")),
    "deletePods": (
        {"namespace": str, "perSecond": int, "finalizers": bool, "of": list, "atOnce": (int, str)},
        (),
    ),
    "updateNodes": ({"of": str, "template": str, "atOnce": (int, str)}, ("of", "template")),
    "updatePods": ({"of": str, "template": str, "atOnce": (int, str)}, ("of", "template")),
}
"""Arguments of each step with their types, and which must be there."""
_EXPECTED = ("gated", "blocked", "attempted")
_DEFAULT_NODES = 5000
"""What cases of a fixed number of nodes are scaled from."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step; numbers are resolved."""

    op: str
    args: Mapping[str, Any]

    def get(self, name: str, default: Any = None) -> Any:
        return self.args.get(name, default)


@dataclass(frozen=True, slots=True)
class Case:
    """A case at one size.

    Parameters
    ----------
    name
        ``CASE/SIZE``.
    threshold
        Pods a second in upstream's CI; None: it has none.
    numbers
        Of the listed size, by name.
    """

    name: str
    family: str
    about: str
    threshold: int | None
    numbers: Mapping[str, int]
    steps: tuple[Step, ...]
    templates: Mapping[str, Mapping[str, Any]]
    args: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of plugins, by name."""
    draws_ties: bool = False
    """Whether equally good nodes are drawn from a seed."""

    def scaled(self, nodes: int) -> Case:
        """The whole case with another number of nodes; counts of 1 stay, no other falls below 1."""
        listed = sum(count for name, count in self.numbers.items() if name in _node_numbers(self.steps))
        factor = nodes / (listed or _DEFAULT_NODES)
        numbers = {name: max(round(count * factor), 1) for name, count in self.numbers.items()}
        return replace(self, numbers=numbers)

    def count(self, step: Step, of: str = "count") -> int:
        """A number that a step gives, or names."""
        value = step.args[of]
        return value if isinstance(value, int) else self.numbers[value]


def _node_numbers(steps: Sequence[Step]) -> set[str]:
    return {step.args["count"] for step in steps if step.op == "createNodes" and isinstance(step.args["count"], str)}


# ---- reading ----


def load() -> list[Case]:
    """All cases of the packaged scenario files, at their listed sizes."""
    import yaml

    out: list[Case] = []
    folder = resources.files("kubesched.bench") / "scenarios"
    for file in sorted(folder.iterdir(), key=lambda path: path.name):
        if file.name.endswith(".yaml"):
            out.extend(read(yaml.safe_load(file.read_text(encoding="utf-8")), file.name))
    return out


def read(document: Any, where: str) -> list[Case]:
    """Cases of a parsed scenario file.

    Raises
    ------
    InputError
        Names the place, what is wrong and what was expected.
    """
    top = _mapping(document, where, {"about": str, "templates": dict, "cases": list}, ("templates", "cases"))
    templates = top["templates"]
    for name, template in templates.items():
        kind = template.get("kind") if isinstance(template, dict) else None
        if not isinstance(kind, str):
            raise errors.InputError(f"{where}: templates.{name}", "has no kind", template, "a Kubernetes object")
    family = where.removesuffix(".yaml")
    return [
        case for i, one in enumerate(top["cases"]) for case in _cases(one, f"{where}: cases[{i}]", family, templates)
    ]


def _cases(one: Any, where: str, family: str, templates: dict[str, Any]) -> list[Case]:
    needed = {"name": str, "about": str, "sizes": list, "steps": list}
    case = _mapping(one, where, {**needed, "args": dict, "ties": str}, tuple(needed))
    if case.get("ties", "drawn") != "drawn":
        raise errors.InputError(f"{where}.ties", "is unknown", case["ties"], "drawn, or nothing")
    steps = tuple(_step(step, f"{where}.steps[{i}]", templates) for i, step in enumerate(case["steps"]))
    out = []
    for i, given in enumerate(case["sizes"]):
        at = f"{where}.sizes[{i}]"
        size = _mapping(given, at, {"name": str, "threshold": int, "numbers": dict}, ("name", "numbers"))
        for step in steps:
            _check_number(step, size["numbers"], at)
        name = f"{case['name']}/{size['name']}"
        args, threshold = case.get("args", {}), size.get("threshold")
        numbers, about = size["numbers"], case["about"]
        out.append(Case(name, family, about, threshold, numbers, steps, templates, args, "ties" in case))
    return out


def _check_number(step: Step, numbers: dict[str, Any], where: str) -> None:
    for count in (step.get(name, 1) for name in ("count", "gang", "features", "atOnce")):
        value = numbers.get(count) if isinstance(count, str) else count
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise errors.InputError(f"{where}.numbers.{count}", "is not a count", value, "a whole number")


def _step(given: Any, where: str, templates: dict[str, Any]) -> Step:
    if not isinstance(given, dict) or len(given) != 1:
        raise errors.InputError(where, "is not a step", given, "one of " + ", ".join(_STEPS))
    ((op, args),) = given.items()
    if op not in _STEPS:
        raise _unknown(where, "is not a step", str(op), _STEPS)
    checked = _mapping(args, f"{where}.{op}", *_STEPS[op])
    named = [name for listed in ("templates", "with", "slices", "of") for name in _listed(checked.get(listed, ()))]
    if checked.get("expect", "gated") not in _EXPECTED:
        raise _unknown(f"{where}.{op}.expect", "is unknown", checked["expect"], dict.fromkeys(_EXPECTED))
    if op == "deletePods" and ("of" in checked) == ({"namespace", "perSecond"} <= checked.keys()):
        raise errors.InputError(f"{where}.{op}", "is incomplete", checked, "of, or namespace and perSecond")
    for name in [*named, checked["template"]] if "template" in checked else named:
        if name not in templates:
            raise _unknown(f"{where}.{op}", "names no template", str(name), templates)
    return Step(op, checked)


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) else list(value)


def _mapping(
    value: Any, where: str, known: Mapping[str, type | tuple[type, ...]], needed: Sequence[str]
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise errors.InputError(where, "has the wrong type", value, "a mapping")
    for name, item in value.items():
        if name not in known:
            raise _unknown(f"{where}.{name}", "is unknown", str(name), known)
        if not isinstance(item, known[name]):
            raise errors.InputError(f"{where}.{name}", "has the wrong type", item, str(known[name]))
    for name in needed:
        if name not in value:
            raise errors.InputError(f"{where}.{name}", "is missing", None, "it to be there")
    return value


def _unknown(where: str, what: str, name: str, known: Mapping[str, Any]) -> errors.InputError:
    near = difflib.get_close_matches(name, known, 1, 0.0)
    return errors.InputError(where, f"{what} (did you mean {near[0]!r}?)" if near else what, name, ", ".join(known))


def choose(cases: Sequence[Case], names: Sequence[str]) -> list[Case]:
    """Cases by name, ``CASE`` or ``CASE/SIZE``, in the order of the files; no names: all.

    Raises
    ------
    InputError
        A name is unknown; names the nearest.
    """
    if not names:
        return list(cases)
    chosen: set[str] = set()
    for name in names:
        found = {case.name for case in cases if name in (case.name, case.name.partition("/")[0], case.family)}
        if not found:
            known = {case.name.partition("/")[0]: None for case in cases}
            raise _unknown("case", "is unknown", name, known)
        chosen |= found
    return [case for case in cases if case.name in chosen]
