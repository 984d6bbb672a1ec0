# SPDX-License-Identifier: Apache-2.0
"""Random configurations that a server takes, and others that may follow them: what people write and write again.

What may not change stays. A map or list to which others add in between is never left out as a whole: client-side apply
would take away what they added, server-side apply would not.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

Obj = dict[str, Any]
Make = Callable[[random.Random], Obj]


def _some(rng: random.Random, items: str, part: float = 0.6) -> list[str]:
    found = [item for item in items if rng.random() < part]
    rng.shuffle(found)
    return found


def _texts(rng: random.Random, names: str = "abc") -> dict[str, str]:
    return {name: rng.choice("12") for name in _some(rng, names)}


def _maybe(rng: random.Random, **fields: Any) -> Obj:
    """Each of the fields or not; functions are asked for the value."""
    return {name: value() if callable(value) else value for name, value in fields.items() if rng.random() < 0.5}


def _env(rng: random.Random) -> list[Obj]:
    secret = {"secretKeyRef": {"name": "s", "key": "k"}}
    return [
        {"name": n, **rng.choice([{"value": "1"}, {"value": "2"}, {"valueFrom": secret}])} for n in _some(rng, "ABCD")
    ]


def _container(rng: random.Random, name: str) -> Obj:
    return {
        "name": name,
        "image": rng.choice(["a:1", "b:2"]),
        **_maybe(
            rng,
            env=lambda: _env(rng),
            ports=lambda: [{"containerPort": ord(n), "name": f"p{n}"} for n in _some(rng, "xyz")],
            args=lambda: _some(rng, "klm"),
            resources=lambda: {"requests": _maybe(rng, cpu=rng.choice(["1", "500m"]), memory="1Gi")},
            volumeMounts=lambda: [{"name": "v", "mountPath": f"/{n}"} for n in _some(rng, "pq")],
            imagePullPolicy=rng.choice(["Always", "Never"]),
        ),
    }


def _main(rng: random.Random, name: str) -> Obj:
    """A container that is not one of those at the start."""
    probe = rng.choice([{"httpGet": {"path": "/", "port": 80}}, {"exec": {"command": ["x"]}}])
    return {**_container(rng, name), **_maybe(rng, readinessProbe=probe)}


def _pod_spec(rng: random.Random) -> Obj:
    source = rng.choice([{"emptyDir": {}}, {"configMap": {"name": "m"}}, {"secret": {"secretName": "s"}}])
    others = [{"name": n, "emptyDir": {}} for n in _some(rng, "uw")]
    return {
        "containers": [_main(rng, n) for n in ["c", *_some(rng, "de")]],
        "volumes": [{"name": "v", **source}, *others],
        **_maybe(
            rng,
            initContainers=lambda: [_container(rng, n) for n in _some(rng, "ij")],
            nodeSelector=lambda: _texts(rng),
            tolerations=lambda: [{"key": n, "operator": "Exists"} for n in _some(rng, "kl")],
            imagePullSecrets=lambda: [{"name": n} for n in _some(rng, "st")],
            hostAliases=lambda: [{"ip": f"10.0.0.{n}", "hostnames": _some(rng, "gh")} for n in _some(rng, "12")],
            terminationGracePeriodSeconds=rng.choice([10, 30]),
            securityContext=lambda: _maybe(rng, runAsUser=rng.choice([1, 2]), fsGroup=3),
        ),
    }


def _template(rng: random.Random) -> Obj:
    return {"metadata": {"labels": {"app": "a", **_texts(rng)}}, "spec": _pod_spec(rng)}


def _deployment(rng: random.Random) -> Obj:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": rng.choice([1, "25%"]), "maxUnavailable": 1}}
    more = _maybe(rng, replicas=rng.choice([1, 2]), minReadySeconds=5, paused=True, strategy=rolling)
    return {"spec": {"selector": {"matchLabels": {"app": "a"}}, "template": _template(rng), **more}}


def _daemon_set(rng: random.Random) -> Obj:
    more = _maybe(rng, minReadySeconds=5, revisionHistoryLimit=3)
    return {"spec": {"selector": {"matchLabels": {"app": "a"}}, "template": _template(rng), **more}}


def _cron_job(rng: random.Random) -> Obj:
    template = _template(rng)
    template["spec"]["restartPolicy"] = "Never"
    job = {"template": template, **_maybe(rng, backoffLimit=2, ttlSecondsAfterFinished=9)}
    more = _maybe(rng, suspend=True, concurrencyPolicy="Forbid", timeZone="Etc/UTC")
    return {"spec": {"schedule": rng.choice(["@daily", "1 * * * *"]), "jobTemplate": {"spec": job}, **more}}


def _service(rng: random.Random) -> Obj:
    ports = [
        {"name": f"p{n}", "port": ord(n), "targetPort": rng.choice([80, "web"])}
        for n in "x" + "".join(_some(rng, "yz"))
    ]
    more = _maybe(rng, sessionAffinity="ClientIP", externalIPs=lambda: [f"10.9.0.{n}" for n in _some(rng, "12")])
    return {"spec": {"ports": ports, "selector": _texts(rng) or {"a": "1"}, **more}}


def _ingress(rng: random.Random) -> Obj:
    def backend() -> Obj:
        return {"service": {"name": rng.choice("ab"), "port": rng.choice([{"number": 80}, {"name": "web"}])}}

    rules = [
        {"host": f"{h}.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend()}]}}
        for h in _some(rng, "gh")
    ]
    more = _maybe(rng, rules=rules, tls=lambda: [{"hosts": _some(rng, "gh")}], ingressClassName="c")
    return {"spec": {"defaultBackend": backend(), **more}}


def _network_policy(rng: random.Random) -> Obj:
    peers = [{"podSelector": {"matchLabels": {"a": n}}} for n in _some(rng, "12")]
    return {
        "spec": {
            "podSelector": _maybe(rng, matchLabels=lambda: _texts(rng)),
            "policyTypes": ["Ingress"],
            **_maybe(rng, ingress=[{"from": peers, "ports": [{"port": rng.choice([80, "web"])}]}]),
        }
    }


def _scaler(rng: random.Random) -> Obj:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": rng.choice("ab")}
    usage = {"type": "Utilization", "averageUtilization": rng.choice([50, 80])}
    metric = {"type": "Resource", "resource": {"name": rng.choice(["cpu", "memory"]), "target": usage}}
    return {"spec": {"scaleTargetRef": target, "maxReplicas": rng.choice([3, 4]), "metrics": [metric]}}


def _role(rng: random.Random) -> Obj:
    rules = [{"apiGroups": [""], "resources": _some(rng, "pq") or ["p"], "verbs": ["get", *_some(rng, "vw")]}]
    return {"rules": rules * rng.randrange(1, 3)}


_MAKERS: dict[str, tuple[str, Make]] = {
    "ConfigMap": (
        "v1",
        lambda rng: {"data": _texts(rng), **_maybe(rng, binaryData={"z": rng.choice(["YQ==", "Yg=="])})},
    ),
    "Secret": ("v1", lambda rng: {"data": dict.fromkeys(_some(rng, "abc"), "YQ=="), "type": "Opaque"}),
    "ServiceAccount": ("v1", lambda rng: _maybe(rng, imagePullSecrets=lambda: [{"name": n} for n in _some(rng, "st")])),
    "Service": ("v1", _service),
    "Deployment": ("apps/v1", _deployment),
    "DaemonSet": ("apps/v1", _daemon_set),
    "CronJob": ("batch/v1", _cron_job),
    "Ingress": ("networking.k8s.io/v1", _ingress),
    "NetworkPolicy": ("networking.k8s.io/v1", _network_policy),
    "HorizontalPodAutoscaler": ("autoscaling/v2", _scaler),
    "Role": ("rbac.authorization.k8s.io/v1", _role),
}
KINDS = tuple(_MAKERS)


def configuration(kind: str, rng: random.Random) -> Obj:
    """One of a kind, named after it."""
    version, make = _MAKERS[kind]
    metadata = {"name": kind.lower(), "labels": _texts(rng), **_maybe(rng, annotations=lambda: _texts(rng, "nm"))}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **make(rng)}


# ---- comparing ----

_LAST = "kubectl.kubernetes.io/last-applied-configuration"
_IDENTITY = {"apiVersion", "kind", "metadata/name"}
_OWN = ("uid", "resourceVersion", "generation", "managedFields", "creationTimestamp", "namespace")
_ADDRESSES = ("clusterIP", "clusterIPs", "healthCheckNodePort")


def essence(obj: Obj) -> Obj:
    """An object without what differs between two that were made alike."""
    metadata = {name: value for name, value in obj["metadata"].items() if name not in _OWN}
    annotations = {name: value for name, value in metadata.pop("annotations", {}).items() if name != _LAST}
    spec = {name: value for name, value in obj.get("spec", {}).items() if name not in _ADDRESSES}
    return {**obj, "metadata": {**metadata, **({"annotations": annotations} if annotations else {})}, "spec": spec}


def unordered(value: Any) -> Any:
    """The same with lists of named things in the order of their names: the two sides may put additions elsewhere."""
    if isinstance(value, dict):
        return {name: unordered(item) for name, item in value.items()}
    if isinstance(value, list):
        items = [unordered(item) for item in value]
        keyed = items and all(isinstance(item, dict) for item in items)
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True)) if keyed else items
    return value


def applied_fields(value: Any, path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Leaves of a configuration, by the names on the way to them: no list counts its elements."""
    if not isinstance(value, dict) or not value:
        return {"/".join(path): value}
    out: dict[str, Any] = {}
    for name, item in value.items():
        out |= applied_fields(item, (*path, name))
    return out


def owned_fields(fields: Obj, path: tuple[str, ...] = ()) -> set[str]:
    """The same of FieldsV1, down to the first list. What is atomic ends higher up."""
    below = {name: node for name, node in fields.items() if name != "."}
    if not below or any(not name.startswith("f:") for name in below):
        return {"/".join(path)}
    return set().union(*(owned_fields(node, (*path, name[2:])) for name, node in below.items()))


def check_owner(found: Obj, applied: Obj) -> None:
    entries = [entry for entry in found["metadata"]["managedFields"] if entry["operation"] == "Apply"]
    assert [entry["manager"] for entry in entries] == ["kubectl"]
    owned = owned_fields(entries[0]["fieldsV1"])
    wanted = {path: value for path, value in applied_fields(applied).items() if path not in _IDENTITY}

    def covers(above: str, below: str) -> bool:
        return f"{below}/".startswith(f"{above}/")

    said = [path for path, value in wanted.items() if value != []]  # of an empty list that merges nothing is owned
    assert [path for path in said if not any(covers(own, path) for own in owned)] == []
    assert [own for own in owned if not any(covers(own, path) for path in wanted)] == []
