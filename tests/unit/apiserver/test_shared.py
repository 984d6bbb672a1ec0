# SPDX-License-Identifier: Apache-2.0
"""Parts that objects have alike are read and judged once: nobody can tell from any answer."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any
from uuid import RFC_4122, UUID

import orjson
import pytest

from kubesched.api import meta, shared, stored
from tests.unit.apiserver.conftest import JSON, MERGE, Server, pod, refused, shown
from tests.unit.apiserver.test_pod_validation import PODS, REFUSED, TAKEN, mounted, one

Obj = dict[str, Any]
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SPECS = [*TAKEN, *(spec for spec, _ in REFUSED)]
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
ANNOTATIONS = [{}, {"kubernetes.io/config.mirror": "x"}, {"container.apparmor.security.beta.kubernetes.io/c": "?"}]


def mixed(rng: random.Random) -> Obj:
    """Two specifications in one: fields of both, perhaps containers of both."""
    first, second = (copy.deepcopy(rng.choice(TAKEN if rng.random() < 0.7 else SPECS)) for _ in range(2))
    both = [*first.get("containers", ()), *second.get("containers", ())]
    out = pod(**first)["spec"] if rng.random() < 0.3 else {**pod()["spec"], **first, **second}
    if len(both) == 2 and rng.random() < 0.7:
        out["containers"] = [both[0], {**both[1], "name": rng.choice(["c", "d"])}]
    return out


def requests(seed: int) -> Iterator[tuple[str, str, Any]]:
    """Objects with specifications of which many come again."""
    rng = random.Random(seed)
    pool = [mixed(rng) for _ in range(40)]
    for i in range(160):
        spec = copy.deepcopy(rng.choice(pool))
        if rng.random() < 0.2:
            spec["hostname"] = rng.choice(["h", "-"])
        if rng.random() < 0.2:
            spec["typo"] = 1
        if rng.random() < 0.2:
            spec = {name: value for name, value in spec.items() if name not in ("volumes", "os", "hostUsers")}
        name = f"p{i}"
        if rng.random() < 0.3:
            template = {"metadata": {"labels": {"a": "b"}}, "spec": spec}
            body = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
            yield (
                "POST",
                DEPLOYMENTS,
                {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": body},
            )
            continue
        made = {**pod(name), "spec": spec}
        made["metadata"]["annotations"] = rng.choice(ANNOTATIONS)
        yield "POST", PODS, made
        if rng.random() < 0.5:
            again = copy.deepcopy(made)
            again["spec"] = copy.deepcopy(rng.choice([spec, spec, rng.choice(pool)]))
            again["metadata"]["labels"] = {"changed": "yes"}
            yield "PUT", f"{PODS}/{name}", again
        yield from later(rng, f"{PODS}/{name}")


def later(rng: random.Random, path: str) -> Iterator[tuple[str, str, Any]]:
    """What happens to a pod, if it was made."""
    yield from rng.sample(
        [
            ("PATCH", f"{path}/status", {"status": {"podIP": f"10.0.0.{rng.randrange(3)}"}}),
            ("PATCH", f"{path}/status", [{"op": "replace", "path": "/status/phase", "value": "Running"}]),
            ("PATCH", path, {"metadata": {"labels": {"later": "yes"}, "managedFields": rng.choice([None, [{}]])}}),
            ("PATCH", path, [{"op": "replace", "path": "/spec/containers/0/image", "value": "nginx:2"}]),
            ("PATCH", path, {"spec": {"tolerations": [{"operator": "Exists"}]}}),
            (STRATEGIC, path, {"spec": {"containers": [{"name": "c", "image": "nginx:3"}]}}),
            (STRATEGIC, path, {"spec": {"activeDeadlineSeconds": 9}, "metadata": {"annotations": {"a": "b"}}}),
            ("PATCH", f"{path}/ephemeralcontainers", {"spec": {"ephemeralContainers": [{"name": "e", "image": "e"}]}}),
            ("PATCH", f"{path}/resize", {"spec": {"containers": [{"name": "c", "resources": {}}]}}),
            ("POST", f"{path}/eviction", {"metadata": {"name": path.rpartition("/")[2]}}),
            ("POST", f"{path}/binding", {"target": {"kind": "Node", "name": "n"}}),
            ("GET", path, None),
        ],
        rng.randrange(6),
    )
    if rng.random() < 0.5:
        yield "DELETE", path, {"gracePeriodSeconds": rng.choice([0, 5])}


def answers(server: Server, seed: int) -> list[Any]:
    found = []
    for method, path, body in requests(seed):
        media_type = JSON_PATCH if isinstance(body, list) else MERGE if method == "PATCH" else JSON
        if method == STRATEGIC:
            method, media_type = "PATCH", STRATEGIC
        answer = server.ask(method, path, body, content_type=media_type)
        found.append((method, answer.status, answer.body, answer.headers.get("Warning")))
    return found


@pytest.mark.parametrize("sights", [1, 2])  # with one, whole specifications are found; with two, also containers alone
@pytest.mark.parametrize("seed", range(2))
def test_nobody_sees_what_is_shared(server: Server, monkeypatch: pytest.MonkeyPatch, seed: int, sights: int) -> None:
    uids = iter(str(UUID(int=n)) for n in range(10_000))
    monkeypatch.setattr(meta, "new_uid", lambda: next(uids))
    other = Server(server.run)
    monkeypatch.setattr(shared, "SIGHTS", sights)
    uids = iter(str(UUID(int=n)) for n in range(10_000))
    found = answers(server, seed)
    assert {(method, code) for method, code, *_ in found} >= {
        ("POST", 201),
        ("POST", 422),
        ("PUT", 200),
        ("PATCH", 200),
        ("PATCH", 422),
        ("DELETE", 200),
    }

    monkeypatch.setattr(shared.Memo, "get", lambda memo, key: None)
    monkeypatch.setattr(shared.Memo, "put", lambda memo, key, value: value)
    monkeypatch.setattr(stored, "loads", lambda data, marks: orjson.loads(data))
    monkeypatch.setattr(stored, "dumps", orjson.dumps)
    uids = iter(str(UUID(int=n)) for n in range(10_000))
    assert answers(other, seed) == found


def test_a_container_is_judged_within_its_pod(server: Server) -> None:
    spec = mounted({"emptyDir": {}})
    for name in ("a", "b", "c", "d"):
        assert server.ask("POST", PODS, {**pod(name), "spec": {**spec, "hostname": name}}).status == 201
    answer = server.ask("POST", PODS, pod("e", containers=spec["containers"]))
    assert refused(answer) == shown("Pod", 'spec.containers[0].volumeMounts[0].name: Not found: "v"', name="e")


def test_a_specification_is_judged_within_its_pod(server: Server) -> None:
    """Its name, where claims are named after it; that it is static, where it asks for devices."""
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}}
    own = {**one(), "volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": claim}}}]}
    asking = {**one(), "resourceClaims": [{"name": "gpu", "resourceClaimName": "g"}]}
    for i, spec in enumerate((own, asking)):
        for name in ("a", "b", "c", "d"):
            assert server.ask("POST", PODS, {**pod(f"{name}{i}"), "spec": spec}).status == 201
    long = "n" * 252
    why = f'spec.volumes[0].name: Invalid value: "v": PVC name "{long}-v": must be no more than 253 characters'
    assert refused(server.ask("POST", PODS, {**pod(long), "spec": own})) == shown("Pod", why, name=long)
    static = {**pod("e"), "spec": {**asking, "nodeName": "n"}}
    for name in ("a", "b", "c"):
        assert server.ask("POST", PODS, {**static, "metadata": {"name": f"{name}2"}}).status == 201
    static["metadata"] = {"name": "e", "annotations": {"kubernetes.io/config.mirror": "x"}}
    assert server.ask("POST", PODS, static).status == 422


def test_a_uid_is_random_and_of_version_four() -> None:
    uids = [UUID(meta.new_uid()) for _ in range(200)]
    assert {(uid.version, uid.variant) for uid in uids} == {(4, RFC_4122)}
    assert len({*uids}) == 200
    changing = 0
    for uid in uids:
        changing |= uid.int ^ uids[0].int
    assert changing == 2**128 - 1 & ~(0xF << 76) & ~(0b11 << 62)


def test_what_is_shared_cannot_be_changed() -> None:
    value = shared.share({"a": [{"b": 1}]})
    for change in (
        lambda: value.update(a=1),
        lambda: value.setdefault("c", 1),
        lambda: value.pop("a"),
        lambda: value["a"].append(1),
        lambda: value["a"][0].__setitem__("b", 2),
        lambda: value["a"].sort(),
    ):
        with pytest.raises(TypeError, match="shared"):
            change()
    assert value == {"a": [{"b": 1}]}
    mine = shared.plain(value)
    mine["a"][0]["b"] = 2
    assert value["a"][0]["b"] == 1


def test_what_comes_once_is_not_kept() -> None:
    memo = shared.Memo()
    assert type(memo.put(b"a", {"x": 1})) is dict
    assert memo.get(b"a") is None
    assert type(memo.put(b"a", {"x": 1})) is shared.Shared
    assert memo.get(b"a") == {"x": 1}


def test_what_is_kept_is_bounded() -> None:
    memo = shared.Memo()
    keys = [b"%040000d" % n for n in range(100)]
    for key in keys:
        memo.put(key, {})
        memo.put(key, {})
    kept = [key for key in keys if memo.get(key) is not None]
    assert kept == keys[-len(kept) :]
    assert 40_000 * len(kept) <= 2 << 20 < 40_000 * (len(kept) + 1)
    large = b"x" * (65 << 10)
    memo.put(large, {})
    assert type(memo.put(large, {})) is dict


def test_a_shared_specification_is_shown_as_yaml(server: Server) -> None:
    for name in ("a", "b", "c"):
        answer = server.ask("POST", PODS, pod(name), query={"dryRun": "All"}, accept="application/yaml")
        assert answer.status == 201
        assert "image: nginx:1" in answer.body
    assert orjson.loads(server.ask("POST", PODS, pod("d")).raw)["spec"]["containers"][0]["image"] == "nginx:1"
