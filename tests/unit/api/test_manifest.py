# SPDX-License-Identifier: Apache-2.0
"""Manifests: what is read, and what is refused with which words."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from kubesched.api import manifest, yamltext
from kubesched.base import errors

POD = "kind: Pod\nmetadata: {name: a}\n"


def read(tmp_path: Path, name: str, data: str | bytes) -> list[dict[str, object]]:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return manifest.load([path])


def names(objects: list[dict[str, object]]) -> list[object]:
    return [obj["metadata"]["name"] for obj in objects]  # type: ignore[index]


def test_documents_lists_and_formats(tmp_path: Path) -> None:
    assert names(read(tmp_path, "a.yaml", f"{POD}---\n---\n{POD.replace('a}', 'b}')}")) == ["a", "b"]
    items = '{"kind":"List","items":[{"kind":"Pod","metadata":{"name":"x"}},{"kind":"Node","metadata":{"name":"y"}}]}'
    assert names(read(tmp_path, "b.json", items)) == ["x", "y"]
    typed = read(tmp_path, "c.json", '{"kind":"PodList","items":[{"metadata":{"name":"x"}}]}')
    assert typed[0]["kind"] == "Pod"
    assert names(
        read(tmp_path, "d.jsonl", '{"kind":"Pod","metadata":{"name":"x"}}\n\n{"kind":"Pod","metadata":{"name":"y"}}\n')
    ) == ["x", "y"]
    assert names(read(tmp_path, "e.yaml.gz", gzip.compress(POD.encode(), mtime=0))) == ["a"]


def test_folders_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "2.yaml").write_text(POD.replace("a}", "two}"))
    (tmp_path / "1.yaml").write_text(POD.replace("a}", "one}"))
    (tmp_path / "notes.txt").write_text("not a manifest")
    assert names(manifest.load([tmp_path])) == ["one", "two"]


def test_aliases_in_measure_are_fine(tmp_path: Path) -> None:
    objects = read(tmp_path, "a.yaml", "kind: Pod\nmetadata: {name: a, labels: &l {x: y}}\nspec: {selector: *l}\n")
    assert objects[0]["spec"] == {"selector": {"x": "y"}}


BOMB = "kind: Pod\nmetadata: {name: x}\na: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.yaml", BOMB, "grows without bound"),
        ("a.yaml", "kind: Pod\nmetadata: &m {name: x, self: *m}\n", "line 2: refers to itself"),
        ("a.yaml", "x: *y\n", "is not YAML"),
        ("a.yaml", "kind: !!python/name:os.system x\n", "has a custom tag"),
        ("a.yaml", "kind: Pod\nkind: Node\n", "line 2: has a key twice, got 'kind'"),
        ("a.yaml", "a: " + "[" * 300 + "]" * 300, "is nested too deeply"),
        ("a.yaml", "a: [1\n", "is not YAML"),
        ("a.yaml", "a: " + "x" * (yamltext.MAX_SCALAR + 1), "is too long"),
        ("a.yaml", "[1, 2]", "is not an object"),
        ("a.yaml", "metadata: {name: x}", "kind: is missing"),
        ("a.yaml", "kind: Pod\nmetadata: {}", "metadata.name: is missing"),
        ("a.yaml", b"kind: \xff", "byte 6: is not UTF-8, got '0xff'"),
        ("a.json", '{"kind":', "is not JSON"),
        ("a.json", b'{"kind": "\xff"}', "is not UTF-8"),
        ("a.yaml.gz", gzip.compress(POD.encode(), mtime=0)[:20], "is damaged"),
        ("a.yaml.gz", b"plain text", "is damaged"),
        ("a.yaml", ("x: &a 1\n" + "y:\n" + "- *a\n" * 1001), "has too many aliases"),
    ],
)
def test_refuses(tmp_path: Path, name: str, data: str | bytes, says: str) -> None:
    with pytest.raises(errors.InputError) as caught:
        read(tmp_path, name, data)
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / name))


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(errors.InputError, match="does not exist"):
        manifest.load([tmp_path / "none.yaml"])
    with pytest.raises(errors.InputError, match="holds no manifests"):
        manifest.load([tmp_path])


def test_too_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "MAX_BYTES", 10)
    with pytest.raises(errors.InputError, match="is too large"):
        read(tmp_path, "a.yaml", POD)
