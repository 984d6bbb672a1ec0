# SPDX-License-Identifier: Apache-2.0
"""One recorded decision through the product path: encode, state, engine, diagnosis, eviction; both drivers."""

from __future__ import annotations

from typing import Any

import numpy as np

from kubesched.framework import diagnosis as diagnoses
from kubesched.framework import preemption
from kubesched.framework import profile as profiles
from kubesched.kernel import arrays, native
from kubesched.parity.cases import Case
from kubesched.parity.loading import load
from kubesched.parity.outcome import Difference
from kubesched.state import live, rows


def replay_decision(case: Case) -> list[Difference]:
    expect = case["expect"]
    state, (pod,) = load(case, [case["pod"]])
    if pod.scheduling_gates:
        gated = _status(diagnoses.gate_status(pod.scheduling_gates))
        return _compare({"gated": expect.get("gated")}, {"gated": gated})
    profile = profiles.find(case["profile"])
    engine_profile, class_id = profiles.register(state, profile), state.class_of(pod)
    with state.evictions.asking(pod):
        return _asked(case, state, profile, pod, engine_profile, class_id)


def _asked(
    case: Case,
    state: live.ClusterState,
    profile: profiles.Profile,
    pod: rows.PodRow,
    engine_profile: int,
    class_id: int,
) -> list[Difference]:
    expect = case["expect"]
    rejection = state.prepare(pod.key, class_id, engine_profile)
    own = -1 if rejection is not None else state.engine.own_node(engine_profile, class_id)
    if own >= 0:
        got: dict[str, Any] = {"nominatedNodeUsed": True, "feasible": [own], "best": [own]}
        return _compare(expect, got) + _compare_drivers(state, engine_profile, class_id, got)
    verdicts = state.engine.explain(engine_profile, class_id, len(profile.scores))
    why = diagnoses.diagnose(state, pod.shape, verdicts, rejection)
    got = _recorded(profile, verdicts, why)
    if rejection is not None and rejection.is_error:
        got["error"] = rejection.reasons[0]
    elif not got["feasible"]:
        got["message"] = why.message()
    # A pod that names its node never reaches PostFilter.
    if not got["feasible"] and "error" not in got and pod.node_name is None:
        got["preemption"] = _preemption(state, engine_profile, pod, class_id, why)
    wanted = {name: value for name, value in expect.items() if name != "node"}
    differences = _compare(wanted, got) + _compare_nodes(expect, why)
    if why.pre_filter.status is None:
        differences += _compare_drivers(state, engine_profile, class_id, got)
    counted = diagnoses.summarize(state, engine_profile, class_id, pod.shape, rejection)
    named = diagnoses.summary_of(why, verdicts)
    return differences if counted == named else [*differences, Difference("summary", named, counted)]


def _preemption(
    state: live.ClusterState, profile: int, pod: rows.PodRow, class_id: int, why: diagnoses.Diagnosis
) -> dict[str, Any]:
    reasons = diagnoses.Why(state, profile, pod, class_id, why)
    found = preemption.post_filter(state, profile, pod, class_id, reasons, list_all=True)
    if found.row < 0:
        return {"code": found.code, "message": found.message, "nominatedNode": found.row}
    candidates = []
    for c in found.candidates:
        entry = {"node": c.row, "victims": state.evictions.keys(c.victims)}
        candidates.append(entry | ({"pdbViolations": c.broken} if c.broken else {}))
    return {
        "code": found.code,
        "nominatedNode": found.row,
        "victims": list(found.victims),
        "tie": [c.row for c in found.candidates if c.is_best],
        "candidates": candidates,
    }


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
