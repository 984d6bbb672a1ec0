# SPDX-License-Identifier: Apache-2.0
"""Judge: replays what a case did in plain Python, from the objects alone, and says what does not hold.

Every placement is checked on the state that it met: capacity, selectors, taints, ports, inter-pod affinity and hard
spreading at the chosen node; a pod that was left out must fit nowhere. It shares no code with the encoder, the engine
or its bindings; only quantities are read by the same parser. Which of the possible nodes is best the runner compares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubesched.api import quantity
from kubesched.base import errors
from kubesched.bench import device_judge, volume_judge

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_HANDLED = {
    "containers",
    "resources",
    "affinity",
    "topologySpreadConstraints",
    "tolerations",
    "nodeSelector",
    "schedulingGates",
}
_FREE = {
    "priority",
    "schedulingGroup",
    "preemptionPolicy",
    "volumes",
    "resourceClaims",
    "terminationGracePeriodSeconds",
}
"""Fields that constrain no node, or that other checks look at."""


@dataclass(slots=True, eq=False)
class _Node:
    name: str
    labels: Mapping[str, str]
    taints: Sequence[Mapping[str, str]]
    unschedulable: bool
    left: dict[str, int]
    ports: Counter[tuple[str, int]] = field(default_factory=Counter)


@dataclass(slots=True, eq=False)
class _Tally:
    """Pods that a rule counts, by the value of its topology key."""

    key: str
    total: int = 0
    by_value: Counter[str] = field(default_factory=Counter)

    def add(self, node: _Node, n: int) -> None:
        self.total += n
        if self.key in node.labels:
            self.by_value[node.labels[self.key]] += n

    def at(self, node: _Node) -> int:
        return self.by_value[node.labels[self.key]] if self.key in node.labels else 0


@dataclass(slots=True, eq=False)
class _Spread:
    """A hard constraint: counts of the domains of the nodes that count, and how many domains have each count."""

    rule: Mapping[str, Any]
    namespace: str
    own: bool
    counts: dict[str, int]
    levels: Counter[int]
    nodes: set[str]

    def add(self, node: _Node, n: int) -> None:
        if node.name not in self.nodes:
            return
        value = node.labels[self.rule["topologyKey"]]
        old = self.counts[value]
        self.counts[value] = old + n
        self.levels[old] -= 1
        self.levels[old + n] += 1

    def holds(self, node: _Node) -> bool:
        value = node.labels.get(self.rule["topologyKey"])
        if value is None or value not in self.counts:
            return False
        lowest = min(level for level, n in self.levels.items() if n > 0)
        if len(self.counts) < self.rule.get("minDomains", 1):
            lowest = 0
        limit: int = self.rule["maxSkew"]
        return self.counts[value] + self.own - lowest <= limit


@dataclass(slots=True, eq=False)
class _Kind:
    """Pods that no rule can tell apart."""

    pod: Mapping[str, Any]
    namespace: str
    labels: Mapping[str, str]
    requests: dict[str, int]
    ports: tuple[tuple[str, int], ...]
    spread: list[_Spread] = field(default_factory=list)
    near: list[tuple[_Tally, bool]] = field(default_factory=list)
    """Tally and whether the kind matches the term itself."""
    apart: list[_Tally] = field(default_factory=list)
    repelled_by: list[_Tally] = field(default_factory=list)
    """Owners of anti-affinity that selects this kind."""
    counted_by: list[_Tally | _Spread] = field(default_factory=list)
    fits_nowhere_at: int = 0
    """Changes of nodes up to which no node took it; 0: never looked."""

    @property
    def looks_beyond_node(self) -> bool:
        """Whether other nodes' pods have a say."""
        return bool(self.spread or self.near or self.apart or self.repelled_by)

    @property
    def priority(self) -> int:
        return self.pod["spec"].get("priority") or 0


class Judge:
    """A cluster as the objects describe it.

    Parameters
    ----------
    objects
        Everything but the pods; Nodes, Namespaces and what stands behind claims are read.
    """

    def __init__(self, objects: Sequence[Mapping[str, Any]]) -> None:
        self._nodes: dict[str, _Node] = {}
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._kinds: dict[tuple[tuple[int, ...], str, tuple[tuple[str, str], ...]], _Kind] = {}
        self._terms: list[tuple[Mapping[str, Any], str, str, _Tally]] = []
        """(term, namespace of its owner, whose pods the tally counts: matched or owners, tally)."""
        self._running: dict[str, tuple[_Kind, _Node]] = {}
        self._volumes = volume_judge.Volumes(objects)
        self._devices = device_judge.Devices(objects)
        self._with_claims: dict[str, Mapping[str, Any]] = {}
        self._changed: list[_Node] = []
        """Every node that changed, in order."""
        for obj in objects:
            if obj["kind"] == "Node":
                self.add_node(obj)
            elif obj["kind"] == "Namespace":
                self._namespaces[obj["metadata"]["name"]] = obj["metadata"].get("labels") or {}

    # ---- what happens ----

    def add_node(self, obj: Mapping[str, Any]) -> None:
        node = _node(obj)
        self._nodes[node.name] = node
        self._changed.append(node)
        self._spread_anew()

    def update_node(self, obj: Mapping[str, Any]) -> None:
        new = _node(obj)
        node = self._nodes[new.name]
        here = [kind for kind, where in self._running.values() if where is node]
        for kind in here:
            self._count(kind, node, -1)
        node.labels, node.taints, node.unschedulable, node.left = new.labels, new.taints, new.unschedulable, new.left
        for kind in here:
            self._count(kind, node, 1)
        self._changed.append(node)
        self._spread_anew()

    def remove_node(self, name: str) -> None:
        self._changed.append(self._nodes.pop(name))
        self._spread_anew()

    def update_pod(self, key: str, obj: Mapping[str, Any]) -> None:
        """A pod is what the object says; if it runs it stays where it is."""
        if key not in self._running:
            return
        if key in self._with_claims:
            raise errors.UnsupportedError("judge", "running pods with claims that change", key)
        old, node = self._running[key]
        self._count(old, node, -1)
        kind = self._kind(obj)
        self._running[key] = kind, node
        self._count(kind, node, 1)

    def label(self, node: str, key: str) -> str | None:
        """A label of a node."""
        return self._nodes[node].labels.get(key)

    def place(self, key: str, pod: Mapping[str, Any], node: str | None) -> None:
        """Check a decision and take it over.

        Raises
        ------
        KubeschedError
            The node cannot take the pod, or one could that was left out.
        """
        kind = self._kind(pod)
        if node is None:
            self._check_left_out(key, kind, pod)
            return
        wrong = self._wrong(kind, self._nodes[node]) or self._volumes.wrong(pod, node)
        if wrong:
            raise errors.KubeschedError(f"verify: {key} on {node}", wrong)
        self._bind(key, pod, kind, node)

    def evict(self, key: str, pod: Mapping[str, Any], node: str, victims: Sequence[str]) -> None:
        """Check a decision that evicts others, and take it over; not whether another node would have been better.

        Raises
        ------
        KubeschedError
            The pod fits without, or does not fit then; a victim is elsewhere, as important, or need not have gone.
        """
        kind = self._kind(pod)
        self._check_left_out(key, kind, pod)
        gone = []
        for victim in victims:
            of, where = self._running[victim]
            if where.name != node or of.priority >= kind.priority:
                raise errors.KubeschedError(f"verify: {key} on {node}", "evicts a pod that it may not evict", victim)
            gone.append((victim, self._with_claims.get(victim, of.pod), of))
            self.release(victim)
        for victim, obj, of in gone:
            self._bind(victim, obj, of, node)
            if not self._wrong(kind, self._nodes[node]) and not self._volumes.wrong(pod, node):
                raise errors.KubeschedError(f"verify: {key} on {node}", "evicts a pod that leaves it room", victim)
            self.release(victim)
        self.place(key, pod, node)

    def _bind(self, key: str, pod: Mapping[str, Any], kind: _Kind, node: str) -> None:
        self._running[key] = kind, self._nodes[node]
        self._count(kind, self._nodes[node], 1)
        if self._has_claims(pod):
            self._with_claims[key] = pod
            self._volumes.count(pod, node, 1)
            self._devices.count(pod, node, 1)

    def _has_claims(self, pod: Mapping[str, Any]) -> bool:
        return volume_judge.has_claims(pod) or device_judge.has_devices(pod, self._devices)

    def release(self, key: str) -> None:
        kind, node = self._running.pop(key)
        self._count(kind, node, -1)
        if key in self._with_claims:
            pod = self._with_claims.pop(key)
            self._volumes.count(pod, node.name, -1)
            self._devices.count(pod, node.name, -1)

    def add_slices(self, slices: Sequence[Mapping[str, Any]]) -> None:
        """ResourceSlices came."""
        self._devices.read(slices)

    def check_devices(self, allocations: device_judge.Allocations) -> None:
        """Check which devices claims hold after a step; see `device_judge.Devices.check`."""
        self._devices.check(allocations)

    def check_all_devices(self, allocations: device_judge.Allocations) -> None:
        """Check which devices all claims hold in the end."""
        self._devices.check_all(allocations)

    def nodes(self) -> dict[str, str]:
        """Node of every running pod."""
        return {key: node.name for key, (_, node) in self._running.items()}

    def _count(self, kind: _Kind, node: _Node, n: int) -> None:
        self._changed.append(node)
        for resource, amount in kind.requests.items():
            node.left[resource] = node.left.get(resource, 0) - n * amount
        for port in kind.ports:
            node.ports[port] += n
        for rule in kind.counted_by:
            rule.add(node, n)

    # ---- checks ----

    def _check_left_out(self, key: str, kind: _Kind, pod: Mapping[str, Any]) -> None:
        if device_judge.has_devices(pod, self._devices):
            self._devices.leave_out(key, pod)
            return
        nodes = self._changed[kind.fits_nowhere_at :]
        if nodes and (kind.looks_beyond_node or not kind.fits_nowhere_at):
            nodes = list(self._nodes.values())
        for node in nodes:
            is_there = self._nodes.get(node.name) is node
            if is_there and not self._wrong(kind, node) and not self._volumes.wrong(pod, node.name):
                raise errors.KubeschedError(f"verify: {key}", "was left out, but fits", node.name)
        if not self._has_claims(pod):  # pods of a kind have other claims
            kind.fits_nowhere_at = len(self._changed)

    def _wrong(self, kind: _Kind, node: _Node) -> str:
        """What keeps the kind off the node; empty if nothing does."""
        for resource, amount in kind.requests.items():
            if amount > node.left.get(resource, 0) and not self._devices.stand_in(resource):
                return f"not enough {resource}"
        spec = kind.pod["spec"]
        if not _admits(spec, node):
            return "a selector or required node affinity does not match"
        if not _tolerates(spec, node):
            return "a taint is not tolerated"
        if any(node.ports[port] for port in kind.ports):
            return "a host port is taken"
        if any(tally.at(node) for tally in kind.apart):
            return "its anti-affinity is broken"
        if any(tally.at(node) for tally in kind.repelled_by):
            return "a running pod's anti-affinity is broken"
        if not _near(kind, node):
            return "its affinity is not met"
        return "" if all(spread.holds(node) for spread in kind.spread) else "maxSkew is exceeded"

    # ---- kinds ----

    def _kind(self, pod: Mapping[str, Any]) -> _Kind:
        metadata, spec = pod["metadata"], pod["spec"]
        labels = metadata.get("labels") or {}
        rules = tuple(id(value) for name, value in spec.items() if name != "volumes")
        key = rules, metadata["namespace"], tuple(sorted(labels.items()))
        found = self._kinds.get(key)
        if found is None:
            found = self._kinds[key] = self._new_kind(pod, labels)
        return found

    def _new_kind(self, pod: Mapping[str, Any], labels: Mapping[str, str]) -> _Kind:
        spec = pod["spec"]
        unknown = spec.keys() - _HANDLED - _FREE
        if unknown:
            raise errors.UnsupportedError("judge", "does not know a field of a pod", min(unknown))
        kind = _Kind(pod, pod["metadata"]["namespace"], labels, _requests(spec), _ports(spec))
        for of in self._kinds.values():
            kind.counted_by += [s for s in of.spread if _same_spread(s, kind)]
        kind.counted_by += [tally for term, owner, what, tally in self._terms if self._counts(term, owner, what, kind)]
        kind.repelled_by = [
            t for term, owner, what, t in self._terms if what == "owners" and self._sees(term, owner, kind)
        ]
        affinity = spec.get("affinity") or {}
        for term in (affinity.get("podAntiAffinity") or {}).get(_REQUIRED) or ():
            kind.apart.append(self._term(term, kind, "matched"))
            self._term(term, kind, "owners")
        for term in (affinity.get("podAffinity") or {}).get(_REQUIRED) or ():
            kind.near.append((self._term(term, kind, "matched"), self._sees(term, kind.namespace, kind)))
        for rule in spec.get("topologySpreadConstraints") or ():
            if rule["whenUnsatisfiable"] == "DoNotSchedule":
                self._add_spread(rule, kind)
        return kind

    def _term(self, term: Mapping[str, Any], kind: _Kind, what: str) -> _Tally:
        """The tally of a term: of the pods that match it, or of its owners. It starts with what runs already."""
        for known, owner, of, tally in self._terms:
            if (of, known) == (what, term) and (owner == kind.namespace or _names_namespaces(term)):
                if what == "owners" and tally not in kind.counted_by:
                    self._join(tally, kind)
                return tally
        tally = _Tally(term["topologyKey"])
        self._terms.append((term, kind.namespace, what, tally))
        for of_kind in [*self._kinds.values(), kind]:
            if what == "owners" and self._sees(term, kind.namespace, of_kind):
                of_kind.repelled_by.append(tally)
            if self._counts(term, kind.namespace, what, of_kind) or (what == "owners" and of_kind is kind):
                self._join(tally, of_kind)
        return tally

    def _join(self, rule: _Tally | _Spread, kind: _Kind) -> None:
        kind.counted_by.append(rule)
        for of, node in self._running.values():
            if of is kind:
                rule.add(node, 1)

    def _counts(self, term: Mapping[str, Any], owner: str, what: str, kind: _Kind) -> bool:
        """Whether a new kind's pods are counted by a tally; owners join theirs by themselves."""
        return what == "matched" and self._sees(term, owner, kind)

    def _sees(self, term: Mapping[str, Any], owner: str, kind: _Kind) -> bool:
        names, by_labels = term.get("namespaces") or (), term.get("namespaceSelector")
        if not names and by_labels is None:
            names = (owner,)
        near = kind.namespace in names
        if by_labels is not None and not near:
            near = _selects(by_labels, self._namespaces.get(kind.namespace, {}))
        return near and _selects(term.get("labelSelector"), kind.labels)

    def _add_spread(self, rule: Mapping[str, Any], kind: _Kind) -> None:
        own = _selects(rule.get("labelSelector"), kind.labels)
        counts, nodes = self._domains(rule, kind)
        spread = _Spread(rule, kind.namespace, own, counts, Counter({0: len(counts)}), nodes)
        kind.spread.append(spread)
        for of in [*self._kinds.values(), kind]:
            if _same_spread(spread, of):
                self._join(spread, of)

    def _domains(self, rule: Mapping[str, Any], kind: _Kind) -> tuple[dict[str, int], set[str]]:
        """Domains without pods, and the nodes that count."""
        key, spec = rule["topologyKey"], kind.pod["spec"]
        nodes = [n for n in self._nodes.values() if key in n.labels]
        if rule.get("nodeAffinityPolicy", "Honor") == "Honor":
            nodes = [n for n in nodes if _admits(spec, n)]
        if rule.get("nodeTaintsPolicy", "Ignore") == "Honor":
            nodes = [n for n in nodes if _tolerates(spec, n)]
        return dict.fromkeys((n.labels[key] for n in nodes), 0), {n.name for n in nodes}

    def _spread_anew(self) -> None:
        """Nodes changed: count every domain again."""
        for kind in self._kinds.values():
            for spread in kind.spread:
                spread.counts, spread.nodes = self._domains(spread.rule, kind)
                spread.levels = Counter({0: len(spread.counts)})
                for of, node in self._running.values():
                    if spread in of.counted_by:
                        spread.add(node, 1)


def _node(obj: Mapping[str, Any]) -> _Node:
    spec, amounts = obj.get("spec") or {}, obj["status"]["allocatable"]
    left = {resource: _amount(resource, text) for resource, text in amounts.items()}
    labels, taints = obj["metadata"].get("labels") or {}, spec.get("taints") or ()
    return _Node(obj["metadata"]["name"], labels, taints, bool(spec.get("unschedulable")), left)


def _same_spread(spread: _Spread, kind: _Kind) -> bool:
    return spread.namespace == kind.namespace and _selects(spread.rule.get("labelSelector"), kind.labels)


def _names_namespaces(term: Mapping[str, Any]) -> bool:
    return bool(term.get("namespaces")) or term.get("namespaceSelector") is not None


def _near(kind: _Kind, node: _Node) -> bool:
    """Required affinity: a match of every term in the node's domains, or the first of pods that match themselves."""
    if not kind.near:
        return True
    if any(tally.key not in node.labels for tally, _ in kind.near):
        return False
    if all(tally.at(node) for tally, _ in kind.near):
        return True
    return all(own and tally.total == 0 for tally, own in kind.near)


def _selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(q, labels) for q in selector.get("matchExpressions") or ())


def _holds(q: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(q["key"])
    held = {
        "In": value in (q.get("values") or ()),
        "NotIn": value not in (q.get("values") or ()),
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }
    return held[q["operator"]]


def _admits(spec: Mapping[str, Any], node: _Node) -> bool:
    if any(node.labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED)
    if required is None:
        return True
    return any(_term_admits(term, node) for term in required["nodeSelectorTerms"])


def _term_admits(term: Mapping[str, Any], node: _Node) -> bool:
    labels, names = term.get("matchExpressions") or (), term.get("matchFields") or ()
    by_name = {"metadata.name": node.name}
    return all(_holds(q, node.labels) for q in labels) and all(_holds(q, by_name) for q in names)


def _tolerates(spec: Mapping[str, Any], node: _Node) -> bool:
    taints = [t for t in node.taints if t["effect"] in ("NoSchedule", "NoExecute")]
    if node.unschedulable:
        taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    return all(any(_tolerated(taint, t) for t in spec.get("tolerations") or ()) for taint in taints)


def _tolerated(taint: Mapping[str, str], toleration: Mapping[str, str]) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    exists = toleration.get("operator") == "Exists"
    return exists or (toleration.get("value", "") == taint.get("value", "") and bool(toleration.get("key")))


def _requests(spec: Mapping[str, Any]) -> dict[str, int]:
    out: Counter[str] = Counter({"pods": 1})
    for container in spec["containers"]:
        for resource, amount in ((container.get("resources") or {}).get("requests") or {}).items():
            out[resource] += _amount(resource, amount)
    for resource, amount in ((spec.get("resources") or {}).get("requests") or {}).items():
        out[resource] = _amount(resource, amount)  # what the pod asks for as a whole stands above its containers
    return dict(out)


def _amount(resource: str, text: str) -> int:
    nano = quantity.read_nano(text, resource)
    return quantity.milli(nano) if resource == "cpu" else quantity.whole(nano)


def _ports(spec: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    ports = [port for container in spec["containers"] for port in container.get("ports") or ()]
    return tuple((port.get("protocol", "TCP"), port["hostPort"]) for port in ports if port.get("hostPort"))
