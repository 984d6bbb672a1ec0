# SPDX-License-Identifier: Apache-2.0
"""Patches against kubectl's own: what `kubectl patch --local` makes of an object, `kubesched.api.patch` makes too.

Objects and patches of every kind come from the table of types (tests/patch_makers.py). One patch is tried on several
objects, because starting kubectl is what takes the time. Where kubectl refuses, we do.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubesched.api import kinds, patch, schema, status
from kubesched.api.schema import Type
from tests.conftest import Tally
from tests.patch_makers import Maker, Obj

_OBJECTS = 8  # of each patch
KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="no kubectl on PATH: nothing to compare with")
KINDS = {f"{kind.group or 'core'}/{kind.version}/{kind.kind}": kind for kind in kinds.built_in() if not kind.virtual}
FORMS = ("strategic", "merge", "json")
_FIRST = (
    "core/v1/Pod",
    "core/v1/Service",
    "apps/v1/Deployment",
    "apps/v1/StatefulSet",
    "rbac.authorization.k8s.io/v1/Role",
)
_NO_FIELD = re.compile(r'unable to find api field in struct \S+ for the json field "([^"]+)"')
_OURS: dict[str, Callable[[Obj, Any, Type], Obj]] = {
    "strategic": patch.strategic,
    "merge": lambda obj, change, _: patch.merge(obj, change),
    "json": lambda obj, change, _: patch.json_patch(obj, change),
}
unknown: set[str] = set()  # fields that came after the kubectl that is here


class Case:
    """A patch, and objects of the kind it is for."""

    def __init__(self, kind: kinds.Kind, form: str, seed: int) -> None:
        self.type = schema.of(kind.group, kind.version, kind.kind)
        maker = Maker(seed, unknown)
        self.objects = []
        for i in range(_OBJECTS):
            obj = maker.value(self.type)
            named = {**obj.get("metadata", {}), "name": f"n{i}"}
            version = kinds.api_version(kind.group, kind.version)
            self.objects.append({"apiVersion": version, "kind": kind.kind, **obj, "metadata": named})
        if form == "json":
            self.change: Any = maker.operations(self.objects[0], self.type)
        else:
            self.change = maker.patch(self.type) if form == "strategic" else maker.merge_patch(self.type)
            self._keep_names()
        self.form = form

    def _keep_names(self) -> None:
        """What is printed is told apart by its name."""
        self.change.pop("$retainKeys", None)
        metadata = self.change.get("metadata", {})
        if metadata is None or "$patch" in metadata or "$retainKeys" in metadata:
            del self.change["metadata"]
        else:
            metadata.pop("name", None)

    def by_kubectl(self, folder: Path) -> tuple[dict[str, Obj], str]:
        """What kubectl prints, by name, and what it complains of."""
        for obj in self.objects:
            (folder / f"{obj['metadata']['name']}.json").write_text(json.dumps(obj))
        change = json.dumps(self.change)
        command = [str(KUBECTL), "patch", "--local", "-f", str(folder), "--type", self.form, "-p", change, "-o", "json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        printed: dict[str, Obj] = {}
        text = done.stdout.strip()
        while text:
            obj, end = json.JSONDecoder().raw_decode(text)
            text = text[end:].strip()
            printed[obj["metadata"]["name"]] = obj
        return printed, done.stderr

    def by_us(self, obj: Obj) -> Obj | None:
        try:
            return _OURS[self.form](obj, self.change, self.type)
        except status.StatusError:
            return None


def compare(kind: kinds.Kind, form: str, seed: int, folder: Path) -> dict[str, int]:
    """One patch; how many objects it changed."""
    while True:
        case = Case(kind, form, seed)
        printed, complaint = case.by_kubectl(folder)
        if "is not supported for" in complaint:
            pytest.skip(f"this kubectl does not know {kind.kind}")
        if not (new := set(_NO_FIELD.findall(complaint)) - unknown):
            break
        unknown.update(new)
    before = copy.deepcopy((case.objects, case.change))
    for obj in case.objects:
        assert case.by_us(obj) == printed.get(obj["metadata"]["name"]), (form, obj, case.change, complaint)
    assert (case.objects, case.change) == before
    return {"decisions": 1, "objects": len(case.objects), "refused": len(case.objects) - len(printed)}


@pytest.mark.parametrize("name", KINDS)
def test_a_strategic_patch_of_every_kind(name: str, tmp_path: Path, tally: Tally) -> None:
    tally("strategic merge patches", compare(KINDS[name], "strategic", 1, tmp_path))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", _FIRST)
@pytest.mark.parametrize("seed", range(100, 103))
def test_a_patch(seed: int, name: str, form: str, tmp_path: Path) -> None:
    compare(KINDS[name], form, seed, tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("form", "seeds"), [("strategic", 50), ("merge", 10), ("json", 10)])
def test_many_patches(form: str, seeds: int, name: str, tmp_path: Path, tally: Tally) -> None:
    """More than 2,500 strategic patches, 680 of each other form."""
    for seed in range(1000, 1000 + seeds):
        folder = tmp_path / str(seed)
        folder.mkdir()
        tally(f"{form} patches", compare(KINDS[name], form, seed, folder))


def test_elements_of_two_kinds_are_refused() -> None:
    with pytest.raises(status.StatusError, match=r"list element types are not identical: \[\[a\] \[map\[uid:u\]\]\]"):
        patch.strategic(
            {"metadata": {"finalizers": ["a"]}},
            {"metadata": {"finalizers": [{"uid": "u"}]}},
            schema.of("", "v1", "ConfigMap"),
        )


@pytest.mark.parametrize(
    ("group", "kind", "obj", "why"),
    [
        (
            "apps",
            "ControllerRevision",
            {"data": {"b": {"c": 1}}},
            'unable to find api field in struct RawExtension for the json field "b"',
        ),
        (
            "certificates.k8s.io",
            "CertificateSigningRequest",
            {"spec": {"extra": {"b": ["c"]}}},
            "merging an object in json but data type is not struct, instead is: map",
        ),
    ],
)
def test_nothing_meets_within_maps_and_free_json(group: str, kind: str, obj: Obj, why: str) -> None:
    """Lists and objects that are new come in; those that meet others of their name have no rule to be merged by."""
    type_ = schema.of(group, "v1", kind)
    [(name, inner)] = obj.items()
    assert patch.strategic({}, obj, type_) == obj
    assert patch.strategic({name: {}}, {name: inner}, type_) == obj
    with pytest.raises(status.StatusError, match=re.escape(why)):
        patch.strategic(obj, obj, type_)
