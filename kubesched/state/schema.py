# SPDX-License-Identifier: Apache-2.0
"""Arrow schemas of cluster state: ``nodes``, ``pods``, ``classes``; units are in the field metadata.

One table can hold a fleet: ``cluster`` is empty for a single cluster. Resources beyond the four core ones are columns
of their own, ``allocatable.<resource>`` and ``used.<resource>``, so that every resource column is zero-copy.
docs/reference/state-schema.md explains each column.
"""

from __future__ import annotations

from typing import Any

from kubesched.state import rows

CORE_COLUMNS: tuple[tuple[str, str, str], ...] = (
    (rows.CPU, "cpu_milli", "1/1000 core"),
    (rows.MEMORY, "memory_bytes", "bytes"),
    (rows.EPHEMERAL_STORAGE, "ephemeral_storage_bytes", "bytes"),
    (rows.PODS, "pods", "pods"),
)
"""Resource, its column, its unit; ``used_`` columns stand beside them."""
VERSION = "1"


def _field(name: str, kind: Any, unit: str = "", nullable: bool = False) -> Any:
    import pyarrow as pa

    return pa.field(name, kind, nullable=nullable, metadata={"unit": unit} if unit else None)


def nodes(extended: tuple[str, ...] = ()) -> Any:
    """Schema of the nodes table with the given resources beyond the core ones."""
    import pyarrow as pa

    text, i64 = pa.string(), pa.int64()
    taint = pa.struct([("key", text), ("value", text), ("effect", text)])
    image = pa.struct([("name", text), ("size_bytes", i64)])
    fields = [_field("cluster", text), _field("name", text)]
    fields += [_field(column, i64, unit) for _, column, unit in CORE_COLUMNS]
    fields += [_field(f"used_{column}", i64, unit) for _, column, unit in CORE_COLUMNS]
    fields += [
        _field("nonzero_used_cpu_milli", i64, "1/1000 core"),
        _field("nonzero_used_memory_bytes", i64, "bytes"),
    ]
    for resource in extended:
        fields += [_field(f"allocatable.{resource}", i64, "count or bytes"), _field(f"used.{resource}", i64)]
    fields += [
        _field("unschedulable", pa.bool_()),
        _field("hostname", text, nullable=True),
        _field("labels", pa.map_(text, text)),
        _field("taints", pa.list_(taint)),
        _field("images", pa.list_(image)),
        _field("device_count", pa.int32(), "devices"),
        _field("device_model", text, nullable=True),
        _field("declared_features", pa.list_(text)),
        _field("device_free_milli", pa.list_(pa.int32()), "1/1000 device"),
    ]
    return pa.schema(fields, metadata={"kubesched.table": "nodes", "kubesched.version": VERSION})


def pods() -> Any:
    """Schema of the pods table: running pods, and where."""
    import pyarrow as pa

    fields = [
        _field("cluster", pa.string()),
        _field("pod", pa.string(), "namespace/name"),
        _field("class", pa.int32(), "row of the classes table"),
        _field("node", pa.string(), nullable=True),
        _field("node_index", pa.int32(), "row of the engine; -1: the node is gone"),
        _field("priority", pa.int32()),
        _field("devices", pa.uint64(), "bit mask"),
        _field("started", pa.int64(), "µs since 1970; 2^63 - 1: not yet"),
        _field("group", pa.string(), "PodGroup in the pod's namespace; empty: none"),
    ]
    return pa.schema(fields, metadata={"kubesched.table": "pods", "kubesched.version": VERSION})


def classes() -> Any:
    """Schema of the classes table: one row for each distinct pod shape."""
    import pyarrow as pa

    text, i64 = pa.string(), pa.int64()
    amounts = pa.map_(text, i64)
    requirement = pa.struct([("key", text), ("operator", text), ("values", pa.list_(text)), ("is_field", pa.bool_())])
    terms = pa.list_(pa.struct([("requirements", pa.list_(requirement)), ("weight", pa.int32())]))
    toleration = pa.struct([("key", text), ("operator", text), ("value", text), ("effect", text)])
    port = pa.struct([("ip", text), ("protocol", text), ("port", pa.int32())])
    selector = pa.list_(pa.struct([("key", text), ("operator", text), ("values", pa.list_(text))]))
    spread = pa.struct(
        [
            ("topology_key", text),
            ("max_skew", pa.int32()),
            ("selector", selector),
            ("hard", pa.bool_()),
            ("min_domains", pa.int32()),
            ("honor_affinity", pa.bool_()),
            ("honor_taints", pa.bool_()),
        ]
    )
    pod_terms = pa.list_(
        pa.struct(
            [
                ("topology_key", text),
                ("selector", selector),
                ("namespaces", pa.list_(text)),
                ("namespace_selector", selector),
                ("weight", pa.int32()),
            ]
        )
    )
    fields = [
        _field("class", pa.int32()),
        _field("requests", amounts, "canonical: 1/1000 core, bytes, counts"),
        _field("fit_requests", amounts, "canonical; what NodeResourcesFit scores with"),
        _field("nonzero_cpu_milli", i64, "1/1000 core"),
        _field("nonzero_memory_bytes", i64, "bytes"),
        _field("node_name", text, nullable=True),
        _field("node_selector", pa.map_(text, text)),
        _field("required_terms", terms, nullable=True),
        _field("preferred_terms", terms),
        _field("tolerations", pa.list_(toleration)),
        _field("host_ports", pa.list_(port)),
        _field("images", pa.list_(text)),
        _field("n_image_containers", pa.int32()),
        _field("device_count", pa.int32(), "devices"),
        _field("device_milli", pa.int32(), "1/1000 device"),
        _field("device_models", pa.list_(text)),
        _field("namespace", text),
        _field("labels", pa.map_(text, text)),
        _field("terminating", pa.bool_()),
        _field("spread", pa.list_(spread)),
        _field("spread_is_default", pa.bool_()),
        _field("required_pods", pod_terms),
        _field("required_anti_pods", pod_terms),
        _field("preferred_pods", pod_terms),
        _field("node_features", pa.list_(text)),
        _field("enforced_terms", terms, nullable=True),
        _field("unchecked", pa.list_(text), "resources"),
    ]
    return pa.schema(fields, metadata={"kubesched.table": "classes", "kubesched.version": VERSION})


def namespaces() -> Any:
    """Schema of the namespaces table: what selectors of namespaces see."""
    import pyarrow as pa

    fields = [_field("name", pa.string()), _field("labels", pa.map_(pa.string(), pa.string()))]
    return pa.schema(fields, metadata={"kubesched.table": "namespaces", "kubesched.version": VERSION})
