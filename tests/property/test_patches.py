# SPDX-License-Identifier: Apache-2.0
"""Patches against kubectl's own: what `kubectl patch --local` makes of an object, `kubesched.api.patch` makes too."""

from __future__ import annotations

import copy
import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubesched.api import patch, schema, status

Obj = dict[str, Any]

_OBJECTS = 25  # of each patch
KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="no kubectl on PATH: nothing to compare with")


class Maker:
    """Random Deployments and Services, and patches that mean something to them."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def some(self, items: list[Any]) -> list[Any]:
        found = [item for item in items if self.rng.random() < 0.6]
        self.rng.shuffle(found)
        return found

    def container(self, name: str) -> Obj:
        out: Obj = {"name": name, "image": self.rng.choice(["a:1", "b:2"])}
        if self.rng.random() < 0.6:
            out["ports"] = [{"containerPort": n, "protocol": "TCP"} for n in self.some([80, 81, 82])]
        if self.rng.random() < 0.6:
            out["env"] = [{"name": n, "value": self.rng.choice("xyz")} for n in self.some(list("ABCD"))]
        if self.rng.random() < 0.3:
            out["args"] = self.some(["-a", "-b", "-c"])
        if self.rng.random() < 0.3:
            out["volumeMounts"] = [{"name": "v", "mountPath": p} for p in self.some(["/a", "/b", "/c"])]
        return out

    def deployment(self) -> Obj:
        spec: Obj = {"containers": [self.container(n) for n in self.some(list("xyzw"))]}
        if self.rng.random() < 0.5:
            spec["volumes"] = [{"name": n, "emptyDir": {}} for n in self.some(list("uvw"))]
        if self.rng.random() < 0.4:
            spec["tolerations"] = [{"key": k, "operator": "Exists"} for k in self.some(list("kl"))]
        if self.rng.random() < 0.4:
            spec["imagePullSecrets"] = [{"name": n} for n in self.some(list("st"))]
        metadata: Obj = {"name": "d", "labels": {k: self.rng.choice("12") for k in self.some(list("abc"))}}
        if self.rng.random() < 0.5:
            metadata["finalizers"] = self.some(["x/a", "x/b", "x/c"])
        body: Obj = {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {}, "spec": spec}}
        if self.rng.random() < 0.5:
            strategy: Obj = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": self.rng.choice([1, "25%"])}}
            body["strategy"] = self.rng.choice([strategy, {"type": "Recreate"}])
        if self.rng.random() < 0.7:
            body["replicas"] = self.rng.randrange(4)
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": body}

    # ---- patches ----

    def listed(self, key: str, names: list[Any], field: str, make: Callable[[Any], Obj]) -> Obj:
        """A patch of a keyed list: elements, deletions, sometimes a replacement, sometimes an order."""
        chosen = self.some(names)
        items: list[Obj] = []
        for name in chosen:
            if self.rng.random() < 0.25:
                items.append({key: name, "$patch": "delete"})
            else:
                items.append({key: name} | make(name))
        out: Obj = {}
        if self.rng.random() < 0.1:
            items.insert(0, {"$patch": "replace"})
        elif self.rng.random() < 0.4:
            kept = [item[key] for item in items if "$patch" not in item]
            order = self.merged_order(kept, self.some(names))
            out[f"$setElementOrder/{field}"] = [{key: name} for name in order]
        out[field] = items
        return out

    def merged_order(self, kept: list[Any], more: list[Any]) -> list[Any]:
        """An order that has the patch's own elements as they stand there, and others between them."""
        others = [name for name in more if name not in kept]
        out = list(kept)
        for name in others:
            out.insert(self.rng.randrange(len(out) + 1), name)
        return out

    def primitive(self, field: str, names: list[str]) -> Obj:
        match self.rng.randrange(3):
            case 0:
                return {field: self.some(names)}
            case 1:
                return {f"$deleteFromPrimitiveList/{field}": self.some(names)}
        kept = self.some(names)
        return {field: kept, f"$setElementOrder/{field}": self.merged_order(kept, self.some(names))}

    def container_patch(self, name: str) -> Obj:
        out: Obj = {}
        if self.rng.random() < 0.5:
            out["image"] = "c:3"
        if self.rng.random() < 0.4:
            out |= self.listed("name", list("ABCDE"), "env", lambda _: {"value": "new"})
        if self.rng.random() < 0.3:
            out |= self.listed("containerPort", [80, 81, 83], "ports", lambda _: {"name": "p"})
        if self.rng.random() < 0.2:
            out["args"] = self.rng.choice([None, ["-z"]])
        return out

    def patch(self) -> Obj:
        spec: Obj = self.listed("name", list("xyzv"), "containers", self.container_patch)
        if self.rng.random() < 0.3:
            spec |= self.listed("name", list("uvt"), "volumes", lambda _: {"emptyDir": {"medium": "Memory"}})
        if self.rng.random() < 0.2:
            spec["tolerations"] = self.rng.choice([None, [{"key": "q"}]])
        body: Obj = {"template": {"spec": spec}}
        if self.rng.random() < 0.3:
            body["strategy"] = self.rng.choice(
                [
                    {"$retainKeys": ["type"], "type": "Recreate"},
                    {"$patch": "replace", "type": "Recreate"},
                    {"rollingUpdate": {"maxUnavailable": 1}},
                    {"rollingUpdate": None},
                ]
            )
        if self.rng.random() < 0.3:
            body["replicas"] = self.rng.choice([None, 5])
        metadata: Obj = {"labels": {k: self.rng.choice(["9", None]) for k in self.some(list("abcd"))}}
        if self.rng.random() < 0.4:
            metadata |= self.primitive("finalizers", ["x/a", "x/b", "x/d"])
        return {"metadata": metadata, "spec": body}

    def operations(self) -> list[Obj]:
        """A JSON patch; some of it does not apply everywhere."""
        paths = ["/spec/replicas", "/metadata/labels/a", "/metadata/labels", "/spec/template/spec/containers/0"]
        paths += ["/spec/template/spec/containers/-", "/spec/template/spec/containers/1/image", "/metadata/annotations"]
        out: list[Obj] = []
        for _ in range(self.rng.randrange(1, 4)):
            path = self.rng.choice(paths)
            match self.rng.randrange(5):
                case 0:
                    out.append({"op": "add", "path": path, "value": self.rng.choice([1, {"q": "r"}, "s"])})
                case 1:
                    out.append({"op": "remove", "path": path})
                case 2:
                    out.append({"op": "replace", "path": path, "value": self.rng.choice([2, {"q": "t"}, "u"])})
                case 3:
                    out.append({"op": "copy", "from": path, "path": self.rng.choice(paths)})
                case _:
                    out.append({"op": "test", "path": path, "value": self.rng.choice(["1", 2, None])})
        return out


def by_kubectl(objects: list[Obj], change: Any, kind: str, folder: Path) -> Iterator[Obj | None]:
    """What kubectl makes of each object; None where it refuses."""
    for i, obj in enumerate(objects):
        (folder / f"{i:03}.json").write_text(json.dumps(obj))
    assert KUBECTL is not None
    command = [KUBECTL, "patch", "--local", "-f", str(folder), "--type", kind, "-p", json.dumps(change), "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    printed: dict[str, Obj] = {}
    decoder = json.JSONDecoder()
    text = done.stdout.strip()
    while text:
        obj, end = decoder.raw_decode(text)
        text = text[end:].strip()
        printed[obj["metadata"]["name"]] = obj
    for obj in objects:
        yield printed.get(obj["metadata"]["name"])


def ours(obj: Obj, change: Any, kind: str) -> Obj | None:
    try:
        match kind:
            case "strategic":
                return patch.strategic(obj, change, schema.of("apps", "v1", "Deployment"))
            case "merge":
                return patch.merge(obj, change)
        return patch.json_patch(obj, change)
    except status.StatusError:
        return None


def compare(seed: int, kind: str, folder: Path) -> int:
    maker = Maker(seed)
    objects = []
    for i in range(_OBJECTS):
        obj = maker.deployment()
        obj["metadata"]["name"] = f"d{i}"
        objects.append(obj)
    change = maker.operations() if kind == "json" else maker.patch()
    before = copy.deepcopy((objects, change))
    for obj, theirs in zip(objects, by_kubectl(objects, change, kind, folder), strict=True):
        mine = ours(obj, change, kind)
        if theirs is None and kind != "json":
            continue  # one object that kubectl refuses ends its work on the others
        assert mine == theirs, (kind, obj, change)
    assert (objects, change) == before
    return len(objects)


@needs_kubectl
@pytest.mark.parametrize("kind", ["strategic", "merge", "json"])
@pytest.mark.parametrize("seed", range(6))
def test_a_patch(seed: int, kind: str, tmp_path: Path) -> None:
    compare(seed, kind, tmp_path)


@needs_kubectl
@pytest.mark.nightly
@pytest.mark.parametrize("part", range(10))
@pytest.mark.parametrize("kind", ["strategic", "merge", "json"])
def test_two_thousand_patches_of_each_kind(kind: str, part: int, tmp_path: Path) -> None:
    done = 0
    for seed in range(1000 + 20 * part, 1000 + 20 * (part + 1)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        done += compare(seed, kind, folder)
    assert done >= 200
