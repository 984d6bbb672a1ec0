# SPDX-License-Identifier: Apache-2.0
"""One node on which nothing runs: pods are bound to it and called running, and go when they are told to.

The suites of other clients expect a cluster in which pods become ready. What they judge is the client and the API;
this gives them the statuses, written through the API as a kubelet and a scheduler write them, and no container.
"""

from __future__ import annotations

import contextlib
import datetime
import http.client
import threading
import time
from collections.abc import Iterator
from typing import Any

import orjson

from kubesched import testing

NODE = "pretend"
_MERGE = "application/merge-patch+json"
_POLL_S = 0.1
_STOPPING_S = 1.0
"""How long a pod takes to stop: long enough for a client that waits for "not ready" to see it."""

_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


@contextlib.contextmanager
def running(server: testing.RunningServer) -> Iterator[None]:
    """The node and one pod in kube-system are there, and pods are looked after, until the block is left."""
    ended = threading.Event()
    with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", server.port, context=server.tls)) as connection:
        kubelet = _Kubelet(connection)
        kubelet.prepare()
        thread = threading.Thread(target=kubelet.run, args=(ended,), name="pretend-kubelet")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


class _Kubelet:
    def __init__(self, connection: http.client.HTTPSConnection) -> None:
        self._connection = connection
        self._stopping: dict[str, float] = {}  # uid → since when

    def prepare(self) -> None:
        """What a new cluster has: a ready node and a pod of its control plane."""
        labels = {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "nothing runs here"}
        status = {"conditions": [ready], "nodeInfo": {"operatingSystem": "linux"}}
        self._ask("POST", "/api/v1/nodes", {"metadata": {"name": NODE, "labels": labels}, "status": status})
        pod = {
            "metadata": {"name": "kube-apiserver", "labels": {"component": "kube-apiserver"}},
            "spec": {"containers": [{"name": "kube-apiserver", "image": "kube-apiserver"}], "nodeName": NODE},
        }
        self._ask("POST", "/api/v1/namespaces/kube-system/pods", pod)

    def run(self, ended: threading.Event) -> None:
        """Look at all pods again and again."""
        while not ended.wait(_POLL_S):
            for pod in self._ask("GET", "/api/v1/pods")["items"]:
                self._look_after(pod)

    def _look_after(self, pod: dict[str, Any]) -> None:
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        if "deletionTimestamp" in meta:
            self._stop(path, pod)
        elif not pod["spec"].get("nodeName"):
            self._ask("POST", f"{path}/binding", {"target": {"kind": "Node", "name": NODE}})
        elif pod["status"]["phase"] == "Pending":
            self._ask("PATCH", f"{path}/status", _status(pod, "Running", ready="True"))

    def _stop(self, path: str, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        since = self._stopping.get(uid)
        if since is None:
            self._stopping[uid] = time.monotonic()
            self._ask("PATCH", f"{path}/status", _status(pod, "Succeeded", ready="False"))
        elif time.monotonic() > since + _STOPPING_S:
            self._ask("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """A pod may have gone or changed meanwhile; the next look says what is to be done then."""
        sent = b"" if body is None else orjson.dumps(body)
        kind = _MERGE if method == "PATCH" else "application/json"
        self._connection.request(method, path, sent, {"Content-Type": kind})
        answer = self._connection.getresponse()
        read = answer.read()
        assert answer.status < 300 or answer.status in (404, 409), (method, path, read)
        return orjson.loads(read)


def _status(pod: dict[str, Any], phase: str, *, ready: str) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [
        {"type": kind, "status": ready if kind in ("Ready", "ContainersReady") else "True", "lastTransitionTime": now}
        for kind in _CONDITIONS
    ]
    return {"metadata": {"uid": pod["metadata"]["uid"]}, "status": {"phase": phase, "conditions": conditions}}
