# SPDX-License-Identifier: Apache-2.0
"""Cluster state as Arrow tables, out and in.

Out: the numeric columns of nodes are views of the engine's memory (zero-copy) unless rows were removed or a copy is
asked for; such a view shows later changes and is valid until nodes or resources are added. In: everything is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kubesched.base import errors
from kubesched.kernel.arrays import NO_NODE
from kubesched.state import checked, live, rows, schema

# ---- out ----


def nodes(state: live.ClusterState, copy: bool = True) -> Any:
    """Table of the nodes, removed rows left out."""
    import pyarrow as pa

    columns = state.engine.columns()
    there = np.flatnonzero(columns.live).astype(np.int32)
    whole = len(there) == columns.n_rows

    def numbers(column: Any) -> Any:
        return pa.array(column.copy() if copy and whole else column if whole else column[there])

    names = [state.node_name(int(row)) or "" for row in there]
    clusters = [state.nodes.clusters[row] for row in there]
    plain = [n[len(c) + 1 :] if c else n for n, c in zip(names, clusters, strict=True)]
    extended = tuple(state.names.resources.values()[len(rows.CORE_RESOURCES) :])
    data: dict[str, Any] = {"cluster": pa.array(clusters, pa.string()), "name": pa.array(plain, pa.string())}
    for slot, (_, name, _) in enumerate(schema.CORE_COLUMNS):
        data[name] = numbers(columns.allocatable[slot])
        data[f"used_{name}"] = numbers(columns.used[slot])
    data["nonzero_used_cpu_milli"] = numbers(columns.nonzero_cpu_used)
    data["nonzero_used_memory_bytes"] = numbers(columns.nonzero_memory_used)
    for slot, resource in enumerate(extended, len(rows.CORE_RESOURCES)):
        data[f"allocatable.{resource}"] = numbers(columns.allocatable[slot])
        data[f"used.{resource}"] = numbers(columns.used[slot])
    data |= _described(state, columns, there)
    wanted = schema.nodes(extended)
    return pa.table([data[field.name].cast(field.type) for field in wanted], schema=wanted)


def _described(state: live.ClusterState, columns: Any, there: Any) -> dict[str, Any]:
    """Columns of interned sets: each distinct set is built once and taken by id."""
    import pyarrow as pa

    models = [None if m < 0 else state.names.models.value(int(m)) for m in columns.device_model[there]]
    counts = columns.device_count[there]
    free = columns.device_free[there]
    kinds = schema.nodes()
    taken: dict[str, Any] = {}
    for name, ids, sets in (
        ("labels", columns.label_set, [list(s) for s in state.names.label_sets.values()]),
        ("taints", columns.taint_set, [[_taint(t) for t in s] for s in state.names.taint_sets.values()]),
        ("images", columns.image_set, [[_image(i) for i in s] for s in state.names.image_sets.values()]),
        ("declared_features", state.features.set_of(), [list(s) for s in state.features.sets()]),
    ):
        taken[name] = pa.array(sets, kinds.field(name).type).take(pa.array(ids[there]))
    return taken | {
        "unschedulable": pa.array(columns.unschedulable[there].astype(bool)),
        "hostname": pa.array(state.nodes.hostnames(there), pa.string()),
        "device_count": pa.array(counts),
        "device_model": pa.array(models, pa.string()),
        "device_free_milli": pa.array(
            [f[:n].tolist() for f, n in zip(free, counts, strict=True)], pa.list_(pa.int32())
        ),
    }


def _taint(t: rows.Taint) -> dict[str, str]:
    return {"key": t.key, "value": t.value, "effect": t.effect}


def _image(i: rows.Image) -> dict[str, Any]:
    return {"name": i.name, "size_bytes": i.size_bytes}


def pods(state: live.ClusterState) -> Any:
    """Table of the running pods, in the order in which they came."""
    import pyarrow as pa

    bound, (_, class_of) = list(state.pods.values()), _shapes(state)
    names = [None if pod.row == NO_NODE else state.node_name(pod.row) for pod in bound]
    data = {
        "cluster": [pod.cluster for pod in bound],
        "pod": list(state.pods),
        "class": class_of,
        "node": names,
        "node_index": [pod.row for pod in bound],
        "priority": [pod.priority for pod in bound],
        "devices": [pod.devices for pod in bound],
        "started": [pod.started for pod in bound],
        "group": [pod.gang.rpartition("/")[2] for pod in bound],
    }
    return pa.table(data, schema=schema.pods())


def classes(state: live.ClusterState) -> Any:
    """Table of the shapes of running pods, numbered as in `pods`; what they have of claims and volumes is not in it."""
    import pyarrow as pa

    return pa.Table.from_pylist([_class_row(i, s) for i, s in enumerate(_shapes(state)[0])], schema=schema.classes())


def _shapes(state: live.ClusterState) -> tuple[list[rows.PodShape], list[int]]:
    """Distinct shapes of the running pods in the order of the pods, and the place there of each pod's.

    Not the engine's classes: those say of labels only what selectors see.
    """
    places: dict[rows.PodShape, int] = {}
    known: dict[tuple[int, int], int] = {}
    out = []
    for pod in state.pods.values():
        kind = pod.class_id, id(pod.shape)
        if kind not in known:
            known[kind] = places.setdefault(state.own_shape(pod.class_id, pod.shape), len(places))
        out.append(known[kind])
    return list(places), out


def _class_row(number: int, s: rows.PodShape) -> dict[str, Any]:
    return {
        "class": number,
        "requests": list(s.requests),
        "fit_requests": list(s.fit_requests),
        "nonzero_cpu_milli": s.nonzero_cpu_milli,
        "nonzero_memory_bytes": s.nonzero_memory_bytes,
        "node_name": s.node_name,
        "node_selector": list(s.node_selector),
        "required_terms": None if s.required_terms is None else [_term_row(t) for t in s.required_terms],
        "preferred_terms": [_term_row(t) for t in s.preferred_terms],
        "tolerations": [
            {"key": t.key, "operator": t.operator, "value": t.value, "effect": t.effect} for t in s.tolerations
        ],
        "host_ports": [{"ip": p.ip, "protocol": p.protocol, "port": p.port} for p in s.host_ports],
        "images": list(s.images),
        "n_image_containers": s.n_image_containers,
        "device_count": s.device_count,
        "device_milli": s.device_milli,
        "device_models": list(s.device_models),
        "namespace": s.namespace,
        "labels": list(s.labels),
        "terminating": s.terminating,
        "spread": [_spread_row(c) for c in s.spread],
        "spread_is_default": s.spread_is_default,
        "required_pods": [_pod_term_row(t) for t in s.required_pods],
        "required_anti_pods": [_pod_term_row(t) for t in s.required_anti_pods],
        "preferred_pods": [_pod_term_row(t) for t in s.preferred_pods],
        "node_features": list(s.node_features),
        "enforced_terms": None if s.enforced_terms is None else [_term_row(t) for t in s.enforced_terms],
        "unchecked": list(s.unchecked),
    }


def _selector_row(selector: rows.LabelSelector) -> list[dict[str, Any]] | None:
    if selector is None:
        return None
    return [{"key": q.key, "operator": q.operator, "values": list(q.values)} for q in selector]


def _spread_row(c: rows.SpreadConstraint) -> dict[str, Any]:
    names = ("topology_key", "max_skew", "hard", "min_domains", "honor_affinity", "honor_taints")
    return {name: getattr(c, name) for name in names} | {"selector": _selector_row(c.selector)}


def _pod_term_row(t: rows.PodTerm) -> dict[str, Any]:
    return {
        "topology_key": t.topology_key,
        "selector": _selector_row(t.selector),
        "namespaces": list(t.namespaces),
        "namespace_selector": _selector_row(t.namespace_selector),
        "weight": t.weight,
    }


def namespaces(state: live.ClusterState) -> Any:
    """Table of the namespaces that are known, and their labels."""
    import pyarrow as pa

    found = [{"name": name, "labels": list(labels.items())} for name, labels in state.pairwise.namespaces.items()]
    return pa.Table.from_pylist(found, schema=schema.namespaces())


def _term_row(t: rows.Term) -> dict[str, Any]:
    requirements = [
        {"key": q.key, "operator": q.operator, "values": list(q.values), "is_field": q.is_field} for q in t.requirements
    ]
    return {"requirements": requirements, "weight": t.weight}


# ---- in ----

_NODE_COLUMNS = (
    checked.Column("cluster", "text", False, default=""),
    checked.Column("name", "text"),
    checked.Column("cpu_milli", "int"),
    checked.Column("memory_bytes", "int"),
    checked.Column("ephemeral_storage_bytes", "int", False, default=0),
    checked.Column("pods", "int", False, default=110),
    checked.Column("device_count", "int", False, 0, 64, 0),
    checked.Column("device_model", "text", False, default="", nullable=True),
    checked.Column("hostname", "text", False, default="", nullable=True),
)
_NESTED = ("labels", "taints", "images", "unschedulable", "declared_features")
_DERIVED = ("used_", "used.", "nonzero_used_", "device_free_milli")
"""Columns of usage: they follow from the pods and are not read."""


def read_nodes(state: live.ClusterState, table: Any) -> None:
    """Add the nodes of a table; without labels, taints and images no Python runs per node beyond names.

    Raises
    ------
    InputError
        Unknown or missing columns, wrong types, values out of range, names that exist twice.
    """
    extended = [n for n in table.column_names if n.startswith("allocatable.")]
    known = [c.name for c in _NODE_COLUMNS] + list(_NESTED) + extended
    derived = [n for n in table.column_names if n.startswith(_DERIVED)]
    plain = table.drop_columns([n for n in table.column_names if n in _NESTED or n in extended or n in derived])
    checked.check_names("nodes", plain, _NODE_COLUMNS, known)
    read = {c.name: checked.read("nodes", plain, c) for c in _NODE_COLUMNS}
    amounts = {resource: read[column] for resource, column, _ in schema.CORE_COLUMNS}
    for name in extended:
        column = checked.Column(name, "int")
        amounts[name.removeprefix("allocatable.")] = checked.read("nodes", table, column)
    nested = {name: table[name].to_pylist() for name in _NESTED if name in table.column_names}
    if any(any(column) for column in nested.values()) or any(read["hostname"]):
        state.add_nodes(_node_rows(read, amounts, nested))
        return
    clusters = np.array(read["cluster"], dtype=object)
    for cluster in dict.fromkeys(read["cluster"]):
        part = np.flatnonzero(clusters == cluster)
        state.add_node_columns(
            [read["name"][i] for i in part],
            {resource: np.ascontiguousarray(column[part]) for resource, column in amounts.items()},
            device_count=read["device_count"][part].astype(np.int32),
            device_model=[read["device_model"][i] or None for i in part],
            cluster=cluster,
        )


def _node_rows(read: dict[str, Any], amounts: dict[str, Any], nested: dict[str, list[Any]]) -> list[rows.NodeRow]:
    out = []
    for i, name in enumerate(read["name"]):
        labels = [(str(k), str(v)) for k, v in (nested.get("labels") or {i: ()})[i] or ()]
        if read["hostname"][i]:
            labels.append((rows.HOSTNAME_LABEL, read["hostname"][i]))
        taints = (nested.get("taints") or {i: ()})[i] or ()
        images = (nested.get("images") or {i: ()})[i] or ()
        for taint in taints:
            if taint.get("effect") not in rows.TAINT_EFFECTS:
                raise errors.InputError(f"nodes, row {i + 1}: taints", "has no such effect", taint, "NoSchedule, ...")
        out.append(
            rows.NodeRow(
                name=name,
                allocatable=tuple(sorted((r, int(c[i])) for r, c in amounts.items() if c[i])),
                labels=tuple(sorted(labels)),
                taints=tuple(rows.Taint(t["key"], t["value"] or "", t["effect"]) for t in taints),
                images=tuple(rows.Image(x["name"], int(x["size_bytes"])) for x in images),
                unschedulable=bool((nested.get("unschedulable") or {i: False})[i]),
                device_count=int(read["device_count"][i]),
                device_model=read["device_model"][i] or None,
                cluster=read["cluster"][i],
                declared_features=tuple(sorted((nested.get("declared_features") or {i: ()})[i] or ())),
            )
        )
    return out


def read_classes(table: Any) -> list[rows.PodShape]:
    """Shapes of a classes table, by row.

    Raises
    ------
    InputError
        Other columns than the documented ones, or an operator or effect that does not exist.
    """
    import pyarrow as pa

    try:
        table = table.select(schema.classes().names).cast(schema.classes())
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        text = str(error).splitlines()[0][:200]
        raise errors.InputError("classes", f"does not have the documented columns ({text})") from None
    read = table.to_pylist()
    for number, row in enumerate(read, 1):
        _check_class(f"classes, row {number}", row)
    return [_shape(row) for row in read]


def read_namespaces(table: Any) -> dict[str, dict[str, str]]:
    """Labels of each namespace of a namespaces table."""
    import pyarrow as pa

    try:
        table = table.select(schema.namespaces().names).cast(schema.namespaces())
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        text = str(error).splitlines()[0][:200]
        raise errors.InputError("namespaces", f"does not have the documented columns ({text})") from None
    return {row["name"]: dict(row["labels"]) for row in table.to_pylist()}


def _check_class(where: str, row: dict[str, Any]) -> None:
    """Refuse operators and effects that do not exist; amounts are checked when the class is made."""
    for toleration in row["tolerations"]:
        effect = toleration["effect"]
        if effect not in ("", *rows.TAINT_EFFECTS):
            raise errors.InputError(
                f"{where}: tolerations", "has no such effect", effect, ", ".join(rows.TAINT_EFFECTS)
            )
    for name in ("required_terms", "preferred_terms", "enforced_terms"):
        for operator in (q["operator"] for term in row[name] or () for q in term["requirements"]):
            if operator not in rows.OPERATORS:
                raise errors.InputError(f"{where}: {name}", "has no such operator", operator, ", ".join(rows.OPERATORS))
    selectors = [c["selector"] for c in row["spread"]]
    for name in ("required_pods", "required_anti_pods", "preferred_pods"):
        selectors += [t[which] for t in row[name] for which in ("selector", "namespace_selector")]
    for operator in (q["operator"] for selector in selectors for q in selector or ()):
        if operator not in rows.LABEL_OPERATORS:
            known = ", ".join(rows.LABEL_OPERATORS)
            raise errors.InputError(f"{where}: label selector", "has no such operator", operator, known)


def _shape(row: dict[str, Any]) -> rows.PodShape:
    required, enforced = row["required_terms"], row["enforced_terms"]
    return rows.PodShape(
        requests=tuple(row["requests"]),
        fit_requests=tuple(row["fit_requests"]),
        nonzero_cpu_milli=row["nonzero_cpu_milli"],
        nonzero_memory_bytes=row["nonzero_memory_bytes"],
        node_name=row["node_name"],
        node_selector=tuple(row["node_selector"]),
        required_terms=None if required is None else tuple(_term(t) for t in required),
        preferred_terms=tuple(_term(t) for t in row["preferred_terms"]),
        tolerations=tuple(rows.Toleration(**t) for t in row["tolerations"]),
        host_ports=tuple(rows.HostPort(**p) for p in row["host_ports"]),
        images=tuple(row["images"]),
        n_image_containers=row["n_image_containers"],
        device_count=row["device_count"],
        device_milli=row["device_milli"],
        device_models=tuple(row["device_models"]),
        namespace=row["namespace"],
        labels=tuple(row["labels"]),
        terminating=row["terminating"],
        spread=tuple(rows.SpreadConstraint(**c | {"selector": _selector(c["selector"])}) for c in row["spread"]),
        spread_is_default=row["spread_is_default"],
        required_pods=tuple(_pod_term(t) for t in row["required_pods"]),
        required_anti_pods=tuple(_pod_term(t) for t in row["required_anti_pods"]),
        preferred_pods=tuple(_pod_term(t) for t in row["preferred_pods"]),
        node_features=tuple(row["node_features"]),
        enforced_terms=None if enforced is None else tuple(_term(t) for t in enforced),
        unchecked=tuple(row["unchecked"]),
    )


def _selector(row: list[dict[str, Any]] | None) -> rows.LabelSelector:
    return None if row is None else tuple(rows.Requirement(q["key"], q["operator"], tuple(q["values"])) for q in row)


def _pod_term(row: dict[str, Any]) -> rows.PodTerm:
    return rows.PodTerm(
        row["topology_key"],
        _selector(row["selector"]),
        tuple(row["namespaces"]),
        _selector(row["namespace_selector"]),
        row["weight"],
    )


def _term(row: dict[str, Any]) -> rows.Term:
    requirements = tuple(
        rows.Requirement(q["key"], q["operator"], tuple(q["values"]), q["is_field"]) for q in row["requirements"]
    )
    return rows.Term(requirements, row["weight"])


POD_COLUMNS = (
    checked.Column("cluster", "text", False, default=""),
    checked.Column("pod", "text", False, default="", nullable=True),
    checked.Column("cpu_milli", "int", False, default=0),
    checked.Column("memory_bytes", "int", False, default=0),
    checked.Column("device_count", "int", False, 0, 64, 0),
    checked.Column("device_milli", "int", False, 0, 1000, 1000),
    checked.Column("device_models", "text", False, default="", nullable=True),
    checked.Column("node", "text", False, default="", nullable=True),
    checked.Column("priority", "int", False, -(2**31), 2**31 - 1, 0),
    checked.Column("class", "int", False, 0, 2**31 - 1, 0),
    checked.Column("devices", "int", False, 0, 2**63 - 1, 0),
    checked.Column("started", "int", False, -(2**63), rows.NOT_STARTED, rows.NOT_STARTED),
    checked.Column("group", "text", False, default="", nullable=True),
)


def read_pods(table: Any, shapes: Sequence[rows.PodShape] = ()) -> list[rows.PodRow]:
    """Pods of a table: by class (with a classes table) or by plain columns of requests.

    ``node`` null: to be placed. Names are ``namespace/name``; without a slash the namespace is ``default``.
    """
    plain = table.drop_columns([n for n in table.column_names if n == "node_index"])
    checked.check_names("pods", plain, POD_COLUMNS)
    read = {c.name: checked.read("pods", plain, c) for c in POD_COLUMNS}
    by_class = "class" in table.column_names
    if by_class:
        checked.check_range("pods", "class", read["class"], 0, len(shapes) - 1)
    else:
        checked.check_shares("pods", read["device_count"], read["device_milli"])
    amounts = ("cpu_milli", "memory_bytes", "device_count", "device_milli")
    out = []
    for i in range(table.num_rows):
        namespace, _, name = (read["pod"][i] or f"pod-{i}").rpartition("/")
        cluster, node = read["cluster"][i], read["node"][i]
        if cluster and node.startswith(f"{cluster}/"):
            node = node[len(cluster) + 1 :]
        if by_class:
            shape = shapes[int(read["class"][i])]
        else:
            cpu, memory, count, milli = (int(read[column][i]) for column in amounts)
            shape = rows.plain_shape(cpu, memory, count, milli, read["device_models"][i])
        out.append(
            rows.PodRow(
                namespace=namespace or "default",
                name=name,
                shape=shape,
                node_name=node or None,
                priority=int(read["priority"][i]),
                device_ids=tuple(d for d in range(64) if int(read["devices"][i]) >> d & 1),
                cluster=cluster,
                started=int(read["started"][i]),
                group=read["group"][i] or "",
            )
        )
    return out
