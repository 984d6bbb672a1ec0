# SPDX-License-Identifier: Apache-2.0
"""One recorded case through the product path: encode, state, engine, diagnosis; both drivers.

What is compared is everything that was recorded. A case that needs a feature which is not implemented is skipped
under that feature's name; it is never compared in part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kubesched.base import errors
from kubesched.framework import cycle
from kubesched.framework import diagnosis as diagnoses
from kubesched.framework import profile as profiles
from kubesched.kernel import arrays, native
from kubesched.parity.cases import KINDS, Case
from kubesched.scheduler import encode
from kubesched.state import live, rows


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that differs."""

    field: str
    expected: Any
    got: Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case."""

    differences: tuple[Difference, ...] = ()
    skipped: str | None = None
    """The feature that it needs."""


def replay(case: Case) -> Outcome:
    """Decide a case and compare."""
    if "ops" in case:
        return Outcome(skipped="sequence operations")
    try:
        if "sequence" in case:
            return Outcome(tuple(_sequence(case)))
        return Outcome(tuple(_single(case)))
    except encode.FeatureError as error:
        return Outcome(skipped=error.feature)
    except errors.UnsupportedError as error:
        return Outcome(skipped=error.where)


def _objects(case: Case, new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All objects of a case with their kinds, the pods to place last."""
    out = [{**obj, "kind": "Node"} for obj in case["nodes"]]
    for name, kind in KINDS.items():
        out += [{**obj, "kind": kind} for obj in case.get(name) or ()]
    return out + [{**obj, "kind": "Pod"} for obj in (case.get("pods") or []) + new]


def _load(case: Case, new: list[dict[str, Any]]) -> tuple[live.ClusterState, list[rows.PodRow], encode.Encoded]:
    """State of the cluster before the decision, and the rows of the pods to place."""
    encoded = encode.encode(_objects(case, new))
    # A recorded pod to place may name its node (family node-name): it is decided, not bound.
    keys = [f"{pod['metadata'].get('namespace') or 'default'}/{pod['metadata']['name']}" for pod in new]
    to_place = set(keys)
    placed = {row.key: row for row in encoded.running + encoded.pending}
    running = [row for row in encoded.running if row.key not in to_place]
    state = live.ClusterState()
    state.pairwise.set_namespaces(encoded.namespaces)
    state.volumes.put(encoded.storage)
    if encoded.devices:
        state.set_devices(encoded.devices)
    state.add_nodes(encoded.nodes)
    state.bind(running)
    waiting = [row for row in encoded.pending if row.key not in to_place]
    if waiting:
        raise encode.FeatureError(f"Pod {waiting[0].key}", "nominated")
    return state, [placed[key] for key in keys], encoded


# ---- single decisions ----


def _single(case: Case) -> list[Difference]:
    expect = case["expect"]
    state, (pod,), encoded = _load(case, [case["pod"]])
    if pod.scheduling_gates:
        gated = _status(diagnoses.gate_status(pod.scheduling_gates))
        return _compare({"gated": expect.get("gated")}, {"gated": gated})
    profile = profiles.find(case["profile"])
    engine_profile, class_id = profiles.register(state, profile), state.class_of(pod)
    rejection = state.prepare(pod.key, class_id, engine_profile)
    verdicts = state.engine.explain(engine_profile, class_id, len(profile.scores))
    why = diagnoses.diagnose(state, pod.shape, verdicts, rejection)
    got = _recorded(profile, verdicts, why)
    if rejection is not None and rejection.is_error:
        got["error"] = rejection.reasons[0]
    elif not got["feasible"]:
        got["message"] = why.message()
    if (
        not got["feasible"] and "error" not in got and pod.node_name is None
    ):  # a pod that names its node never reaches PostFilter
        lower = any(other.priority < pod.priority for other in encoded.running if other.key != pod.key)
        claims = diagnoses.claims_text(state, pod.key, class_id, why)
        code, message = diagnoses.post_filter(why, pod.preempts, lower, claims)
        got["preemption"] = {"code": code, "message": message, "nominatedNode": -1}
    wanted = {name: value for name, value in expect.items() if name != "node"}
    differences = _compare(wanted, got) + _compare_nodes(expect, why)
    if why.pre_filter.status is None:
        differences += _compare_drivers(state, engine_profile, class_id, got)
    counted = diagnoses.summarize(state, engine_profile, class_id, pod.shape, rejection)
    named = diagnoses.summary_of(why, verdicts)
    return differences if counted == named else [*differences, Difference("summary", named, counted)]


def _recorded(profile: profiles.Profile, verdicts: native.Verdicts, why: diagnoses.Diagnosis) -> dict[str, Any]:
    """The decision in the form of a record."""
    feasible = why.feasible
    got: dict[str, Any] = {"feasible": feasible.tolist()}
    if why.statuses:
        got["statuses"] = sorted(map(_status, why.statuses), key=str)
    pre = why.pre_filter
    if pre.status is not None:
        got["preFilter"] = _status(pre.status)
    elif pre.rows is not None:
        found: dict[str, Any] = {"plugin": "NodeAffinity", "code": "Success"}
        if pre.rows.size:
            found["nodes"] = pre.rows.tolist()
        got["preFilter"] = found
    if feasible.size:
        scored = [i for i in range(len(profile.scores)) if not verdicts.skipped[i]]
        total = verdicts.total[feasible]
        got["scorePlugins"] = [profile.scores[i].name for i in scored]
        got["weights"] = [profile.scores[i].weight for i in scored]
        got["scores"] = verdicts.score[np.ix_(np.array(scored, dtype=np.int64), feasible)].T.tolist()
        got["total"] = total.tolist()
        got["best"] = feasible[total == total.max()].tolist()
    return got


def _status(status: diagnoses.Status) -> dict[str, Any]:
    """A status in the form of a record, which leaves out what is empty."""
    recorded: dict[str, Any] = {"plugin": status.plugin, "code": status.code}
    return recorded | ({"reasons": list(status.reasons)} if status.reasons else {})


def _compare(expect: dict[str, Any], got: dict[str, Any]) -> list[Difference]:
    out = []
    for name in sorted(expect.keys() | got.keys()):
        wanted, have = expect.get(name), got.get(name)
        if name == "statuses" and wanted is not None:
            wanted = sorted(wanted, key=str)  # the order of distinct statuses is not part of the decision
        if name == "preFilter" and wanted is not None and not wanted.get("nodes"):
            wanted = {k: v for k, v in wanted.items() if k != "nodes"}  # an empty list may be absent
        if wanted != have:
            out.append(Difference(name, wanted, have))
    return out


def _compare_nodes(expect: dict[str, Any], why: diagnoses.Diagnosis) -> list[Difference]:
    """Node by node: feasible, or the same plugin, code and reasons."""
    recorded = expect.get("node")
    if recorded is None:
        return []
    statuses = expect.get("statuses") or []
    out = []
    for row, number in enumerate(recorded):
        wanted = None if number < 0 else statuses[number]
        mine = int(why.status_of[row])
        have = None if mine < 0 else _status(why.statuses[mine])
        if wanted != have or (mine == -2):
            out.append(Difference(f"node[{row}]", wanted, have))
    return out


def _compare_drivers(state: live.ClusterState, profile: int, class_id: int, got: dict[str, Any]) -> list[Difference]:
    """Each driver must choose the first of the best nodes, with the right score and number of ties."""
    best, total = got.get("best", []), got.get("total", [])
    wanted = {
        "node": best[0] if best else -1,
        "ties": len(best),
        "feasible": len(got["feasible"]),
        "score": max(total, default=-1),
    }
    out = []
    for name in ("dense", "indexed"):
        options = native.Options(profile, driver=native.DRIVERS[name], commit=False)
        d = state.engine.place(options, arrays.int32([class_id]))
        have = {
            "node": int(d.node[0]),
            "ties": int(d.ties[0]),
            "feasible": int(d.feasible[0]),
            "score": int(d.score[0]),
        }
        if have != wanted:
            out.append(Difference(f"{name} driver", wanted, have))
    return out


# ---- sequences ----


def _sequence(case: Case) -> list[Difference]:
    state, pods, _ = _load(case, case["sequence"])
    profile = profiles.register(state, profiles.find(case["profile"]))
    open_pods = [i for i, pod in enumerate(pods) if not pod.scheduling_gates]
    classes = arrays.int32([state.class_of(pods[i]) for i in open_pods])
    out = []
    for name in ("dense", "indexed"):
        mark = state.speculate()
        options = native.Options(profile, driver=native.DRIVERS[name])
        decided = cycle.decide(state, options, [pods[i].key for i in open_pods], classes)
        state.rollback(mark)
        got = _sequence_columns(len(pods), open_pods, decided.columns)
        for field, column in got.items():
            wanted = case["expect"].get(field)
            if wanted != column:
                step = _first_difference(wanted, column)
                out.append(Difference(f"{name} driver: {field}[{step}]", _at(wanted, step), _at(column, step)))
    unknown = case["expect"].keys() - {"node", "ties", "feasible", "score"}
    return out + [Difference(field, case["expect"][field], None) for field in sorted(unknown)]


def _sequence_columns(n: int, open_pods: list[int], d: native.Decisions) -> dict[str, list[int]]:
    """Columns as recorded: -2 for gated pods; no score where the real scheduler does not score."""
    node, ties, feasible, score = [-2] * n, [0] * n, [0] * n, [-1] * n
    for at, i in enumerate(open_pods):
        node[i], feasible[i] = int(d.node[at]), int(d.feasible[at])
        ties[i] = int(d.ties[at])
        score[i] = int(d.score[at]) if feasible[i] > 1 else -1
    return {"node": node, "ties": ties, "feasible": feasible, "score": score}


def _first_difference(a: Any, b: list[int]) -> int:
    if not isinstance(a, list):
        return 0
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _at(column: Any, step: int) -> Any:
    return column[step] if isinstance(column, list) and step < len(column) else None
