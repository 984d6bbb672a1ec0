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
import urllib.request
from pathlib import Path

import pytest


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
                return self._ask("POST", "", {"metadata": {"name": name}})
            case ("delete", "namespace", name, "--wait=false"):
                return self._delete(name)
        command = [str(self.kubectl_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def _delete(self, name: str) -> str:
        """Delete a namespace and end it as its controller would: of the suite's 65,536 names some are drawn twice."""
        left = json.loads(self._ask("DELETE", f"/{name}", {}))
        left["spec"] = {"finalizers": []}
        return self._ask("PUT", f"/{name}/finalize", left)

    def _ask(self, method: str, name: str, body: dict[str, object]) -> str:
        request = urllib.request.Request(
            f"{self._url}/api/v1/namespaces{name}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, context=self._tls) as answer:
            return str(answer.read(), "utf-8")


@pytest.fixture(scope="session")
def k8s_cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def ensure_gc() -> None:
    """Classes that earlier tests made are forgotten. Their own fixture is not in the package."""
    gc.collect()
