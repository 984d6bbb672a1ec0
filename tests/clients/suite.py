# SPDX-License-Identifier: Apache-2.0
"""Tests of other clients, run in an environment of their own against our server, and judged against a list.

Their packages are none of our dependencies: they are installed into a folder under build/ once, and where no package
index can be reached the tests are skipped. `not-passing.yaml` lists the tests that do not pass by what they need.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import yaml

from kubesched import testing
from tests.conftest import ROOT

HERE = Path(__file__).parent
INSIDE = HERE / "inside"
"""What runs in that environment, beside pytest and not in our run of it: plugins and checks."""
REQUIREMENTS = HERE / "requirements.txt"
_SUITE_S = 600
_PIP = ("--quiet", "--disable-pip-version-check", "--retries", "0")
_INSTALL = ("install", "--no-compile")  # most of the modules are never imported
_OPTIONS = ("-q", "--tb=short", "-p", "no:cacheprovider", "-p", "patience")
_SETTINGS = """\
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
"""


class Absent(Exception):
    """The packages are not here and cannot be installed; the text says why."""


def interpreter() -> Path:
    """A Python that has the packages; raises Absent."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = ROOT / "build" / f"clients-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    python, complete = folder / "bin" / "python", folder / "complete"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several workers want it at once
        if not complete.exists():
            _run("venv", "--without-pip", str(folder))
            _run("pip", "--python", str(python), *_PIP, *_INSTALL, "--requirement", str(REQUIREMENTS))
            complete.touch()
    return python


def _run(*module: str) -> None:
    """Run a module of our own Python."""
    done = subprocess.run([sys.executable, "-m", *module], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Absent((done.stderr or done.stdout).strip().rpartition("\n")[2])


def package(python: Path, name: str) -> Path:
    """Where a package of the environment is."""
    [found] = python.parents[1].glob(f"lib/python*/site-packages/{name}")
    return found


def not_passing(suite: str) -> dict[str, str]:
    """Tests of a suite that are known not to pass, each with the reason."""
    reasons: dict[str, list[str]] = yaml.safe_load((HERE / "not-passing.yaml").read_text(encoding="utf-8"))[suite]
    return {name: reason for reason, names in reasons.items() for name in names}


def run(python: Path, server: testing.RunningServer, tests: Path, known: dict[str, str], *options: str) -> list[str]:
    """Play tests in the environment; what is not as `known` says, a line each."""
    folder = server.kubeconfig.parent
    settings, report = folder / "pytest.ini", folder / "report.xml"
    settings.write_text(_SETTINGS, encoding="utf-8")
    where = ("-c", settings, "--rootdir", tests.parent, "--confcutdir", tests.parent, f"--junitxml={report}")
    done = subprocess.run(
        [python, "-m", "pytest", *_OPTIONS, *where, *options, tests],
        capture_output=True,
        text=True,
        check=False,
        timeout=_SUITE_S,
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "KUBECONFIG": str(server.kubeconfig),
            "PYTHONPATH": str(INSIDE),
            "KNOWN": json.dumps(list(known)),
        },
    )
    print(done.stdout, done.stderr)  # pytest shows it beside a failure
    passed = dict(_outcomes(report))
    wrong = [f"{name}: did not pass" for name, ok in passed.items() if not ok and name not in known]
    wrong += [f"{name}: passed, but is listed: {why}" for name, why in known.items() if passed.get(name)]
    wrong += [f"{name}: is listed, but not there" for name in known if name not in passed]
    return wrong


def _outcomes(report: Path) -> Iterator[tuple[str, bool]]:
    """Each test, as file::name, and whether it passed; whatever else happened to it, even behind it, did not."""
    passed: dict[str, bool] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.attrib['classname'].rpartition('.')[2]}::{case.attrib['name']}"
        ok = not any(child.tag in ("failure", "error", "skipped") for child in case)
        passed[name] = passed.get(name, True) and ok
    yield from passed.items()
