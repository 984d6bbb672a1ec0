# SPDX-License-Identifier: Apache-2.0
"""Rules of the repository that no other tool checks."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

JUNK = {"utils", "common", "helpers", "misc", "manager", "util", "helper"}


def tracked(*patterns: str) -> list[Path]:
    out = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    if out.returncode != 0 or not out.stdout:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in out.stdout.splitlines() if (ROOT / line).exists()]


def test_every_source_names_its_license() -> None:
    for path in tracked("*.py", "*.c", "*.h", "*.pyi"):
        assert "SPDX-License-Identifier: Apache-2.0" in path.read_text().split("\n\n", 1)[0], path


def test_every_c_source_has_a_test() -> None:
    for source in (ROOT / "core" / "src").glob("*.c"):
        assert (ROOT / "core" / "tests" / f"test_{source.name}").exists(), source.name
        assert f"src/{source.name}" in (ROOT / "core" / "CMakeLists.txt").read_text()


def test_every_c_function_is_bound() -> None:
    header = (ROOT / "core" / "include" / "ks.h").read_text()
    region = header[header.index("/* ffi:begin */") : header.index("/* ffi:end */")]
    binding = (ROOT / "kubesched" / "kernel" / "native.py").read_text()
    functions = set(re.findall(r"\b(ks_[a-z_]+)\(", re.sub(r"/\*.*?\*/", "", region, flags=re.S)))
    assert len(functions) > 20
    for name in functions:
        assert f"_lib.{name}" in binding, name


def test_no_junk_drawers() -> None:
    for path in tracked("kubesched"):
        assert path.stem not in JUNK, path


def test_no_machine_paths() -> None:
    outside = re.compile(r"\.\./shared")
    machine = re.compile("/" + r"work/(main|shared)|/" + "root/")
    for path in tracked("*.py", "*.md", "*.toml", "*.c", "*.h", "*.txt", "Makefile", ".ci/run"):
        text = path.read_text()
        assert not machine.search(text), path
        if not path.is_relative_to(ROOT / "tests") and path.parent.name != ".ci":
            assert not outside.search(text), path


def test_changelog_and_status_exist() -> None:
    assert "Unreleased" in (ROOT / "CHANGELOG.md").read_text()
    assert "measured" in (ROOT / "docs" / "status.md").read_text().lower()


def test_links_in_docs_lead_somewhere() -> None:
    for page in tracked("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
