# SPDX-License-Identifier: Apache-2.0
"""The judge of the other clients' tests, and what happens where they cannot be installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubesched import testing
from tests.clients import suite

_TESTS = """
import time
import pytest

def test_good(): pass
def test_good_and_listed(): pass
def test_bad(): assert False
def test_bad_and_listed(): assert False
def test_skipped(): pytest.skip()
def test_endless_and_listed(): time.sleep(60)

@pytest.fixture
def broken():
    yield
    assert False

def test_broken_behind(broken): pass
"""


def test_the_list_and_the_tests_must_agree(client_python: Path, server: testing.RunningServer, tmp_path: Path) -> None:
    (tmp_path / "some_checks.py").write_text(_TESTS, encoding="utf-8")
    listed = ("good_and_listed", "bad_and_listed", "endless_and_listed", "gone")
    known = {f"some_checks::test_{name}": "why" for name in listed}
    assert sorted(suite.run(client_python, server, tmp_path / "some_checks.py", known)) == [
        "some_checks::test_bad: did not pass",
        "some_checks::test_broken_behind: did not pass",
        "some_checks::test_gone: is listed, but not there",
        "some_checks::test_good_and_listed: passed, but is listed: why",
        "some_checks::test_skipped: did not pass",
    ]


def test_where_nothing_can_be_installed_it_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("no-such-package==1\n", encoding="utf-8")
    monkeypatch.setattr(suite, "REQUIREMENTS", wanted)
    monkeypatch.setattr(suite, "ROOT", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(suite.Absent, match="No matching distribution found for no-such-package==1"):
        suite.interpreter()
