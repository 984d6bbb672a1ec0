# SPDX-License-Identifier: Apache-2.0
"""Claims and volumes through the facade: messages on the state each pod met, changes, copies, gangs, manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import kubesched as ks
from kubesched.base import errors
from kubesched.scheduler import encode

Obj = dict[str, Any]
NO_VOLUME = "node(s) didn't find available persistent volumes to bind"
TOO_MANY = "node(s) exceed max volume count"


def node(name: str) -> Obj:
    status = {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "20"}}
    return {"kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "status": status}


def local_class() -> Obj:
    return {
        "kind": "StorageClass",
        "metadata": {"name": "local"},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def local_volume(name: str, host: str) -> Obj:
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}]}
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "local",
        "local": {"path": "/d"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
    }
    return {"kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec, "status": {"phase": "Available"}}


def claim(name: str, volume: str = "", **spec: Any) -> Obj:
    requests = {"requests": {"storage": "1Gi"}}
    spec = {"storageClassName": "local", "accessModes": ["ReadWriteOnce"], "resources": requests, **spec}
    metadata: Obj = {"name": name, "namespace": "default"}
    if volume:
        spec["volumeName"] = volume
        metadata["annotations"] = {"pv.kubernetes.io/bind-completed": "yes"}
    return {"kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def csi_volume(name: str) -> Obj:
    spec = {"capacity": {"storage": "1Gi"}, "csi": {"driver": "csi.one", "volumeHandle": name}}
    return {"kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def csi_node(name: str, most: int) -> Obj:
    drivers = [{"name": "csi.one", "nodeID": name, "allocatable": {"count": most}}]
    return {"kind": "CSINode", "metadata": {"name": name}, "spec": {"drivers": drivers}}


def pod(name: str, *claims: str, group: str = "", host: str = "") -> Obj:
    spec: Obj = {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]}
    spec["volumes"] = [{"name": c, "persistentVolumeClaim": {"claimName": c}} for c in claims]
    if group:
        spec["schedulingGroup"] = {"podGroupName": group}
    if host:
        spec["nodeName"] = host
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def local_cluster(*more: Obj) -> ks.Cluster:
    """Two nodes with one local volume each, and three claims."""
    volumes = [local_volume("v0", "n0"), local_volume("v1", "n1")]
    claims = [claim(f"c{i}") for i in range(3)]
    return ks.Cluster.from_objects([node("n0"), node("n1"), local_class(), *volumes, *claims, *more])


@pytest.mark.parametrize("driver", ["dense", "indexed", "auto"])
def test_each_failure_is_told_on_the_state_that_it_met(driver: str) -> None:
    cluster = local_cluster()
    pods = [pod("a", "c0"), pod("early", "gone"), pod("b", "c1"), pod("c", "c2"), pod("again", "c0")]
    plan = cluster.place(pods, driver=driver)
    assert plan.nodes == ["n0", None, "n1", None, "n0"]
    assert plan.reasons[1] == '0/2 nodes are available: persistentvolumeclaim "gone" not found.'
    assert plan.reasons[3] == f"0/2 nodes are available: 2 {NO_VOLUME}."


def test_what_a_placement_took_stays_taken_until_it_is_undone() -> None:
    cluster = local_cluster()
    with cluster.what_if():
        assert cluster.place([pod("a", "c0"), pod("b", "c1")]).nodes == ["n0", "n1"]
        assert cluster.place([pod("c", "c2")]).nodes == [None]
    assert cluster.place([pod("c", "c2")], commit=False).nodes == ["n0"]
    assert cluster.place([pod("a", "c0"), pod("b", "c1")]).nodes == ["n0", "n1"]
    cluster.release("default/a")  # its claim outlives it, and goes on holding the volume
    assert cluster.place([pod("c", "c2")]).nodes == [None]
    assert cluster.place([pod("a", "c0")]).nodes == ["n0"]


def test_a_gang_that_does_not_fit_leaves_its_volumes_free() -> None:
    gangs = [
        {
            "apiVersion": "scheduling.k8s.io/v1alpha2",
            "kind": "PodGroup",
            "metadata": {"name": f"g{size}", "namespace": "default"},
            "spec": {"schedulingPolicy": {"gang": {"minCount": size}}},
        }
        for size in (2, 3)
    ]
    cluster = local_cluster(*gangs)
    plan = cluster.place([pod(f"a{i}", f"c{i}", group="g3") for i in range(3)])
    assert plan.nodes == [None] * 3
    assert any(NO_VOLUME in reason for reason in plan.reasons)
    assert cluster.place([pod(f"b{i}", f"c{i}", group="g2") for i in range(2)]).nodes == ["n0", "n1"]


@pytest.mark.parametrize("driver", ["dense", "indexed", "auto"])
def test_limits_bind_in_the_middle_of_a_batch(driver: str) -> None:
    names = [f"v{i}" for i in range(40)]
    objects = [node("n0"), node("n1"), csi_node("n0", 3), csi_node("n1", 5)]
    objects += [csi_volume(name) for name in names] + [claim(f"c{name}", name) for name in names]
    cluster = ks.Cluster.from_objects(objects)
    plan = cluster.place([pod(f"p{name}", f"c{name}") for name in names], driver=driver)
    assert plan.nodes[:8].count("n0") == 3
    assert plan.nodes[:8].count("n1") == 5
    assert plan.nodes[8:] == [None] * 32
    assert set(plan.reasons[8:]) == {f"0/2 nodes are available: 2 {TOO_MANY}."}
    shared = cluster.place([pod("shared", "cv0")]).nodes  # attached already: it costs nothing there
    assert shared == [plan.nodes[0]]


def test_objects_come_and_go() -> None:
    cluster = ks.Cluster.from_objects([node("n0"), csi_node("n0", 1), csi_volume("v0"), csi_volume("v1")])
    cluster.apply(ks.Delta(put_storage=[claim("c0", "v0"), claim("c1", "v1")], bind=[pod("r", "c0", host="n0")]))
    assert cluster.place([pod("a", "c1")]).reasons == [f"0/1 nodes are available: 1 {TOO_MANY}."]
    cluster.apply(ks.Delta(put_storage=[csi_node("n0", 2)]))
    assert cluster.place([pod("a", "c1")], commit=False).nodes == ["n0"]
    attachment = {"source": {"persistentVolumeName": "v1"}, "nodeName": "n0", "attacher": "csi.one"}
    held = {"kind": "VolumeAttachment", "metadata": {"name": "x"}, "spec": attachment}
    cluster.apply(ks.Delta(put_storage=[held]))  # the pod's own volume counts twice, as it does upstream
    assert cluster.place([pod("a", "c1")], commit=False).nodes == [None]
    cluster.apply(ks.Delta(remove_storage=[held]))
    assert cluster.place([pod("a", "c1")], commit=False).nodes == ["n0"]
    with pytest.raises(errors.StateError, match="x: does not exist"):
        cluster.apply(ks.Delta(remove_storage=[held]))
    with pytest.raises(errors.InputError, match="is not of storage"):
        cluster.apply(ks.Delta(put_storage=[node("n9")]))


def test_a_snapshot_has_the_volumes_and_tables_refuse_them() -> None:
    cluster = local_cluster()
    cluster.place([pod("a", "c0")])
    copied = cluster.snapshot()
    for one in (cluster, copied):
        assert one.place([pod("b", "c1")]).nodes == ["n1"]
        assert one.place([pod("c", "c2")]).nodes == [None]
        assert one.place([pod("a2", "c0")], commit=False).nodes == ["n0"]
    with pytest.raises(ks.UnsupportedError, match="claims and volumes"):
        cluster.to_arrow()


def test_a_profile_without_the_plugins_does_not_look_at_volumes() -> None:
    cluster = local_cluster()
    assert cluster.place([pod("a", "gone")], profile="node-local").nodes == ["n0"]
    assert cluster.explain(pod("b", "gone")).diagnosis.pre_filter.status is not None


def test_volumes_can_be_left_out() -> None:
    cluster = ks.Cluster.from_objects([node("n0"), pod("a", "gone")], ignore=["volumes"])
    assert cluster.left_out == {"volumes": 1}
    assert cluster.place().nodes == ["n0"]


def test_a_stateful_set_brings_its_claims(tmp_path: Path) -> None:
    template = {"metadata": {"name": "data"}, "spec": claim("x")["spec"]}
    containers = [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]
    spec = {"replicas": 3, "volumeClaimTemplates": [template], "template": {"spec": {"containers": containers}}}
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec}
    objects = [node("n0"), node("n1"), local_class(), local_volume("v0", "n1"), local_volume("v1", "n1"), owner]
    given = claim("data-db-1", "v1")  # bound before, and not made again
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([*objects, given]))
    cluster = ks.Cluster.from_manifests(tmp_path / "all.yaml")
    plan = cluster.place()
    assert plan.nodes == ["n1", "n1", "n1"]  # v0, v1 as bound, and v1 again: nobody says that it is reserved


def test_claims_of_manifests_get_the_default_class(tmp_path: Path) -> None:
    marked = local_class()
    marked["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
    plain, none = claim("plain"), claim("none", storageClassName="")
    del plain["spec"]["storageClassName"]
    objects = [node("n0"), marked, local_volume("v", "n0"), plain, none, pod("a", "none"), pod("b", "plain")]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(objects))
    plan = ks.Cluster.from_manifests(tmp_path / "all.yaml").place()
    assert plan.nodes == [None, "n0"]
    assert "unbound immediate" in plan.reasons[0]


def test_an_object_that_exists_twice_is_refused() -> None:
    with pytest.raises(errors.InputError, match="exists twice"):
        ks.Cluster.from_objects([node("n0"), local_class(), local_class()])


def test_volumes_in_a_fleet_are_refused() -> None:
    with pytest.raises(ks.UnsupportedError, match="fleet"):
        encode.pod_row(pod("a", "c0"), cluster="east")
