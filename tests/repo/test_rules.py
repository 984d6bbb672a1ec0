# SPDX-License-Identifier: Apache-2.0
"""Rules of the repository that no other tool checks.

Files are found by walking the tree, not by asking git: the rules hold in an unpacked archive too.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

JUNK = {"utils", "common", "helpers", "misc", "manager", "util", "helper", "managers"}
LICENSE_LINE = "SPDX-License-Identifier: Apache-2.0"
BUILT = {"build", "dist"}
"""Folders of the root that hold products; hidden folders are left out as well, but for .ci."""


def sources(*suffixes: str, under: str = ".") -> list[Path]:
    """Files of the repository with one of these endings (a whole name is an ending too), sorted."""
    found = [path for path in _walk(ROOT / under) if path.name.endswith(suffixes)]
    assert found, f"nothing ends with {suffixes} under {under}"
    return sorted(found)


def _walk(top: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(top):
        here = Path(folder)
        names[:] = [name for name in names if not _is_product(here, name)]
        yield from (here / file for file in files)


def _is_product(parent: Path, name: str) -> bool:
    if parent == ROOT and name in BUILT:
        return True
    return name == "__pycache__" or name.endswith(".egg-info") or (name.startswith(".") and name != ".ci")


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_every_source_names_its_license() -> None:
    names = (".py", ".pyi", ".c", ".h", ".cmake", "CMakeLists.txt", "pyproject.toml", "Makefile")
    for path in [*sources(*names), ROOT / ".ci" / "run"]:
        head = text_of(path).splitlines()[:2]
        assert any(LICENSE_LINE in line for line in head), path


def test_every_c_source_is_built_and_has_a_test() -> None:
    listed = set(re.findall(r"\bsrc/(\w+\.c)\b", text_of(ROOT / "core" / "CMakeLists.txt")))
    assert listed == {path.name for path in sources(".c", under="core/src")}
    tests = {path.name for path in sources(".c", under="core/tests")}
    assert tests == {f"test_{name}" for name in listed}


def test_every_c_function_is_bound() -> None:
    header = text_of(ROOT / "core" / "include" / "ks.h")
    region = header[header.index("/* ffi:begin */") : header.index("/* ffi:end */")]
    binding = "".join(text_of(ROOT / "kubesched" / "kernel" / name) for name in ("native.py", "device_pools.py"))
    functions = set(re.findall(r"\b(ks_[a-z_]+)\(", re.sub(r"/\*.*?\*/", "", region, flags=re.DOTALL)))
    assert len(functions) > 20
    for name in functions:
        assert re.search(rf"_lib\.{name}\b", binding), name


def test_exported_names_are_sorted() -> None:
    checked = 0
    for path in sources(".py", under="kubesched"):
        for exported in _exports(ast.parse(text_of(path))):
            checked += 1
            assert exported == sorted(set(exported)), path
    assert checked


def _exports(module: ast.Module) -> Iterator[list[str]]:
    for statement in module.body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in statement.targets
        ):
            yield list(ast.literal_eval(statement.value))


def test_no_junk_drawers() -> None:
    for path in sources(".py", ".c", ".h"):
        parts = {part.removesuffix(path.suffix) for part in path.relative_to(ROOT).parts}
        assert not parts & JUNK, path


def test_no_machine_paths() -> None:
    machine = re.compile(r"(?<![\w.-])/(?:work|root|home|Users|opt)/\w|--(?:extra-)?index-url|--find-links")
    for path in _texts():
        found = machine.search(text_of(path))
        assert found is None or path == Path(__file__), f"{path}: {found}"


def test_only_tests_and_ci_name_the_folder_outside() -> None:
    for path in _texts():
        if path.is_relative_to(ROOT / "tests") or path.is_relative_to(ROOT / ".ci"):
            continue
        assert "../shared" not in text_of(path), path


def _texts() -> list[Path]:
    return [*sources(".py", ".pyi", ".md", ".toml", ".c", ".h", ".txt", ".cmake", "Makefile"), ROOT / ".ci" / "run"]


def test_every_run_time_dependency_is_explained() -> None:
    table = text_of(ROOT / "docs" / "explanation" / "architecture.md")
    project = text_of(ROOT / "pyproject.toml")
    wanted = re.search(r"^dependencies = \[(.*?)\]", project, re.DOTALL | re.MULTILINE)
    assert wanted
    names = re.findall(r'"([A-Za-z0-9_-]+)', wanted[1])
    assert len(names) >= 6
    for name in names:
        assert f"| {name} |" in table, name


@pytest.mark.parametrize("page", ["CHANGELOG.md", "NOTICE", "docs/status.md"])
def test_page_exists(page: str) -> None:
    wanted = {"CHANGELOG.md": "Unreleased", "NOTICE": "Weng et al.", "docs/status.md": "measured"}
    assert wanted[page] in text_of(ROOT / page)


def test_links_in_docs_lead_somewhere() -> None:
    for page in sources(".md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text_of(page)):
            assert (page.parent / target).exists(), f"{page}: {target}"
