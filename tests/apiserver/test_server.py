# SPDX-License-Identifier: Apache-2.0
"""The whole server, as a process and as a fixture: start, stop, restart, refuse."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubesched.apiserver.certificates import Authority
from kubesched.testing import RunningServer, serve
from tests.conftest import ROOT
from tests.store.conftest import failing_fsync

COMMAND = [sys.executable, "-m", "kubesched", "apiserver", "--port", "0"]


@contextlib.contextmanager
def process(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server process and its port; it must end with 0 when it is told to."""
    command = [*COMMAND, "--data-dir", str(folder), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as server:
        assert server.stdout is not None
        try:
            line = server.stdout.readline()
            assert line.startswith("https://127.0.0.1:"), server.communicate()
            yield server, int(line.rpartition(":")[2])
        except BaseException:
            server.kill()
            raise
        if server.returncode is None:
            server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0


def ask(port: int, tls: ssl.SSLContext, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPSConnection("localhost", port, context=tls, timeout=20)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    return answer.status, json.loads(text) if text.startswith(b"{") else text


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}}


MAPS = "/api/v1/namespaces/default/configmaps"


def test_process_when_restarted_then_objects_and_certificates_are_kept(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    data = tmp_path / "data"
    with process(data, "--kubeconfig-out", str(kubeconfig)) as (_, port):
        tls = Authority.open(data / "pki").client_context()
        code, created = ask(port, tls, "POST", MAPS, config_map("a"))
        assert code == 201
        assert json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]["server"] == f"https://127.0.0.1:{port}"
        assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600
    with process(data) as (server, port):
        assert ask(port, tls, "GET", f"{MAPS}/a") == (200, created)
        server.kill()
        server.wait()
        server.returncode = None
        with process(data) as (_, again):
            assert ask(again, tls, "GET", f"{MAPS}/a") == (200, created)
        server.returncode = 0
    for path in [data, *data.rglob("*")]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_process_when_terminated_then_watches_end_cleanly(tmp_path: Path) -> None:
    with process(tmp_path, "--store", "memory") as (server, port):
        tls = Authority.open(tmp_path / "pki").client_context()
        connection = http.client.HTTPSConnection("localhost", port, context=tls, timeout=20)
        connection.request("GET", f"{MAPS}?watch=1&resourceVersion=0")
        answer = connection.getresponse()
        assert ask(port, tls, "POST", MAPS, config_map("a"))[0] == 201
        line = answer.readline()
        assert json.loads(line)["object"]["metadata"]["name"] == "a"
        server.send_signal(signal.SIGTERM)
        assert answer.read() == b"", "an IncompleteRead here is a stream that was cut"
        connection.close()
        server.wait(30)


def test_process_when_handshakes_failed_then_it_ends_at_once(tmp_path: Path) -> None:
    with process(tmp_path, "--store", "memory") as (server, port):
        for words in (b"", b"GET / HTTP/1.0\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(words)
                client.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionError):
                    client.recv(1000)
        server.send_signal(signal.SIGTERM)
        server.wait(10)


def test_process_when_a_client_does_not_answer_the_end_then_not_waited_for(tmp_path: Path) -> None:
    with process(tmp_path, "--store", "memory") as (server, port):
        tls = Authority.open(tmp_path / "pki").client_context()
        connection = http.client.HTTPSConnection("localhost", port, context=tls, timeout=20)
        connection.request("GET", MAPS)
        assert connection.getresponse().read()
        server.send_signal(signal.SIGTERM)
        server.wait(10)
        connection.close()


def test_process_when_anonymous_or_bad_credentials_then_403_and_401(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("secret\n")
    with process(tmp_path / "data", "--admin-token-file", str(token), "--store", "memory") as (_, port):
        tls = Authority.open(tmp_path / "data" / "pki").client_context(None)
        assert ask(port, tls, "GET", "/readyz")[0] == 200
        code, body = ask(port, tls, "GET", MAPS)
        assert (code, body["reason"]) == (403, "Forbidden")
        assert ask(port, tls, "GET", MAPS, Authorization="Bearer secret")[0] == 200
        code, body = ask(port, tls, "GET", MAPS, Authorization="Bearer wrong")
        assert (code, body["reason"]) == (401, "Unauthorized")


def test_process_when_its_disk_fails_then_503_and_it_ends(tmp_path: Path) -> None:
    environment = {**os.environ, **failing_fsync(tmp_path)}
    command = [*COMMAND, "--data-dir", str(tmp_path / "data")]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )
    assert server.stdout is not None
    port = int(server.stdout.readline().rpartition(":")[2])
    tls = Authority.open(tmp_path / "data" / "pki").client_context()
    assert ask(port, tls, "POST", MAPS, config_map("before"))[0] == 201
    (tmp_path / "fails").touch()
    code, body = ask(port, tls, "POST", MAPS, config_map("after"))
    assert (code, body["reason"]) == (503, "ServiceUnavailable")
    _, text = server.communicate(timeout=30)
    assert server.returncode == 3
    assert text.splitlines()[-1].startswith(
        f"kubesched: error: {tmp_path}/data: the store cannot write any more: disk I/O"
    )
    with process(tmp_path / "data") as (_, again):
        assert ask(again, tls, "GET", f"{MAPS}/before")[0] == 200


def refusal(*options: str) -> tuple[int, str]:
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_process_when_it_cannot_start_then_one_line_and_a_code(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, text = refusal("--data-dir", str(tmp_path / "a"), "--store", "memory", "--port", port)
    assert code == 3
    assert text.startswith(f"kubesched: error: 127.0.0.1:{port}: cannot be listened on")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "store.db").write_bytes(b"nonsense" * 1_000)
    code, text = refusal("--data-dir", str(tmp_path / "b"))
    assert (code, text) == (3, f"kubesched: error: {tmp_path}/b/store.db: is damaged: file is not a database\n")
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o644)
    code, text = refusal("--data-dir", str(tmp_path / "c"), "--admin-token-file", str(token))
    assert code == 2
    assert "may be read by others" in text


def test_fixture_then_a_real_server(apiserver: RunningServer) -> None:
    code, found = ask(apiserver.port, apiserver.tls, "GET", "/api/v1/namespaces")
    assert code == 200
    names = {item["metadata"]["name"] for item in found["items"]}
    assert names == {"default", "kube-system", "kube-public", "kube-node-lease"}
    assert os.stat(apiserver.kubeconfig).st_mode & 0o777 == 0o600


def test_fixture_when_left_then_its_thread_is_gone(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        port = server.port
    assert "apiserver" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_watches_when_many_are_open_then_each_gets_each_event(apiserver: RunningServer) -> None:
    connections = []
    for _ in range(20):
        connection = http.client.HTTPSConnection("localhost", apiserver.port, context=apiserver.tls, timeout=20)
        connection.request("GET", f"{MAPS}?watch=1&resourceVersion=0")
        connections.append((connection, connection.getresponse()))
    for n in range(10):
        assert ask(apiserver.port, apiserver.tls, "POST", MAPS, config_map(f"m{n}"))[0] == 201
    for connection, answer in connections:
        names = [json.loads(answer.readline())["object"]["metadata"]["name"] for _ in range(10)]
        assert names == [f"m{n}" for n in range(10)]
        connection.close()
