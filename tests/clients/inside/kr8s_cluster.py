# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin for kr8s's own suite: the cluster that its tests ask for is a server that runs already.

Loaded into their pytest run, with their settings, not into ours. It stands in for pytest-kind's fixture.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

_COMPARE_LISTS = ("test_pod_list", "test_pod_list_sync")
_SETTLED_S = 30


class Cluster:
    """What the suite uses of a cluster: its kubeconfig and a kubectl."""

    def __init__(self) -> None:
        self.kubeconfig_path = Path(os.environ["KUBECONFIG"])
        self.kubectl_path = shutil.which("kubectl")
        pki = self.kubeconfig_path.parent / "data" / "pki"
        self._tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._tls.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        self._url = json.loads(self.kubeconfig_path.read_text())["clusters"][0]["cluster"]["server"]

    def kubectl(self, *arguments: str) -> str:
        """What a kubectl command prints.

        Every test has a namespace of its own. It is made and deleted without starting the binary twice a test, which
        would take longer than the tests themselves.
        """
        match arguments:
            case ("create", "namespace", name):
                return self._ask("POST", "/namespaces", {"metadata": {"name": name}})
            case ("delete", "namespace", name, "--wait=false"):
                return self._delete(name)
        command = [str(self.kubectl_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def settle(self) -> None:
        """Wait until no pod is about to go."""
        until = time.monotonic() + _SETTLED_S
        while any("deletionTimestamp" in pod["metadata"] for pod in json.loads(self._ask("GET", "/pods"))["items"]):
            assert time.monotonic() < until, f"pods were still stopping after {_SETTLED_S} s"
            time.sleep(0.05)

    def _delete(self, name: str) -> str:
        """Delete a namespace and end it as its controller would: of the suite's 65,536 names some are drawn twice."""
        left = json.loads(self._ask("DELETE", f"/namespaces/{name}", {}))
        left["spec"] = {"finalizers": []}
        return self._ask("PUT", f"/namespaces/{name}/finalize", left)

    def _ask(self, method: str, path: str, body: dict[str, object] | None = None) -> str:
        request = urllib.request.Request(
            f"{self._url}/api/v1{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, context=self._tls) as answer:
            return str(answer.read(), "utf-8")


@pytest.fixture(scope="session")
def k8s_cluster() -> Cluster:
    return Cluster()


@pytest.fixture(autouse=True)
def settled(request: pytest.FixtureRequest) -> None:
    """Tests that compare two lists begin when no pod of an earlier test can go between the two."""
    if request.node.name in _COMPARE_LISTS:
        request.getfixturevalue("k8s_cluster").settle()


@pytest.fixture
def ensure_gc() -> None:
    """Classes that earlier tests made are forgotten. Their own fixture is not in the package."""
    gc.collect()
