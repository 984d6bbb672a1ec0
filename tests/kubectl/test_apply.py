# SPDX-License-Identifier: Apache-2.0
"""What kubectl works out by itself against what the server makes of the same, on random configurations.

Client-side apply and server-side apply of the same configurations lead to the same objects; a patch does on the server
what kubectl makes of it locally; so do label, annotate and set. The server-side half is also judged by what must hold
of it alone: doing it again changes nothing, the manager's fields are those it applied, conflicts are named.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubesched import testing
from kubesched.api import kinds
from tests.conftest import Tally
from tests.kubectl.configurations import KINDS, Obj, check_owner, configuration, essence, unordered
from tests.kubectl.test_matrix import BINARIES, Kubectl
from tests.kubectl.test_requests import Client

pytestmark = pytest.mark.skipif(not BINARIES, reason="no kubectl found")
_QUICK = ("--validate=false",)  # the server validates; kubectl would read all of OpenAPI first
_SENT = re.compile(r'"?Request Body"?(?::| body=)"?(.*?)"?$')
SERVED = {(kinds.api_version(kind.group, kind.version), kind.kind): kind for kind in kinds.built_in()}


class World:
    """A server, kubectl, and two namespaces in which the same happens by other means."""

    def __init__(self, server: testing.RunningServer, folder: Path) -> None:
        self.client = Client(server)
        self.kubectl = Kubectl(BINARIES[max(BINARIES)], server.kubeconfig, folder)
        self.folder = folder
        self.n = 0

    def namespace(self) -> str:
        self.n += 1
        name = f"n{self.n}"
        code, _ = self.client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        assert code == 201
        return name

    def files(self, objects: list[Obj]) -> str:
        """A new folder with a file for each object."""
        self.n += 1
        folder = self.folder / f"f{self.n}"
        folder.mkdir()
        for i, obj in enumerate(objects):
            (folder / f"{i:03}.json").write_text(json.dumps(obj))
        return str(folder)

    def path(self, namespace: str, obj: Obj) -> str:
        kind = SERVED[obj["apiVersion"], obj["kind"]]
        group = f"apis/{kind.group}" if kind.group else "api"
        return f"/{group}/{kind.version}/namespaces/{namespace}/{kind.plural}/{obj['metadata']['name']}"

    def get(self, namespace: str, obj: Obj) -> Obj:
        code, found = self.client.ask("GET", self.path(namespace, obj))
        assert code == 200, found
        return dict(found)

    def printed(self, *arguments: str) -> list[Obj]:
        """Objects that a command prints as JSON, one after the other or in a List."""
        done = self.kubectl(*arguments, "-o", "json")
        out: list[Obj] = []
        while done := done.strip():
            obj, end = json.JSONDecoder().raw_decode(done)
            done = done[end:]
            out += obj["items"] if obj["kind"] == "List" else [obj]
        return out


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("apply")
    with testing.serve(folder) as server:
        made = World(server, folder)
        yield made
        made.client.close()


# ---- the steps of a story ----


def by_others(world: World, namespace: str, obj: Obj, step: int) -> None:
    """What controllers and people add, which no configuration names."""
    change: Obj = {"metadata": {"labels": {f"other{step}": "x"}, "annotations": {"by": f"step {step}"}}}
    if obj["kind"] in ("Deployment", "DaemonSet"):
        injected = {"name": "injected", "image": "i:1", "env": [{"name": "Z", "value": "z"}]}
        change["spec"] = {"template": {"spec": {"containers": [injected]}}}
    if obj["kind"] == "ConfigMap":
        change["data"] = {"other": str(step)}
    path = f"{world.path(namespace, obj)}?fieldManager=others"
    answer = world.client.send(
        "PATCH", path, json.dumps(change).encode(), content_type="application/strategic-merge-patch+json"
    )
    body = answer.read()
    assert answer.status == 200, body


def sent_patches(log: str) -> Iterator[tuple[str, Obj]]:
    """Path and body of each PATCH in kubectl's log of requests."""
    body = ""
    for line in log.splitlines():
        if found := _SENT.search(line):
            text = found[1]
            body = json.loads(f'"{text}"') if text.startswith("{\\") else text
        elif "curl" in line and "-XPATCH" in line:
            path = re.search(r"https://[^/]+(/[^?']+)", line)
            assert path is not None
            yield path[1], json.loads(body)


def expected_patches(world: World, before: dict[str, Obj], log: str) -> dict[str, Obj]:
    """What the server keeps when kubectl patches an object here and writes it as a whole there; nothing is kept."""
    out: dict[str, Obj] = {}
    for path, change in sent_patches(log):
        live = world.files([before[path]])
        local = world.printed("patch", "--local", "-f", live, "--type", "strategic", "-p", json.dumps(change))[0]
        code, written = world.client.ask("PUT", f"{path}?dryRun=All", local)
        assert code == 200, (written["message"], change)
        out[path] = written
    return out


def play(world: World, seed: int, steps: int, tally: Tally) -> None:
    """Configurations of each kind, one after the other, by either way of applying."""
    rng = random.Random(seed)
    client, server = world.namespace(), world.namespace()
    counts = {"decisions": 0, "patches": 0}
    for step in range(steps):
        objects = [configuration(kind, rng) for kind in KINDS]
        files = world.files(objects)
        before = {} if not step else {world.path(client, obj): world.get(client, obj) for obj in objects}
        by_client = ("apply", "-n", client, "-f", files, *_QUICK, "--openapi-patch=false")
        expected = (
            expected_patches(world, before, world.kubectl(*by_client, "--dry-run=server", "-v=9")) if step else {}
        )
        world.kubectl(*by_client)
        world.kubectl("apply", "-n", server, "-f", files, *_QUICK, "--server-side")
        after = {world.path(client, obj): world.get(client, obj) for obj in objects}
        for obj in objects:
            mine, theirs = world.get(server, obj), after[world.path(client, obj)]
            assert unordered(essence(mine)) == unordered(essence(theirs)), (seed, step, obj)
            check_owner(mine, obj)
            counts["decisions"] += 1
        for path, written in expected.items():
            assert essence(written) == essence(after[path]), (seed, step, path)
        counts["patches"] += len(expected)
        for namespace in (client, server):
            for obj in objects:
                by_others(world, namespace, obj, step)
    tally("configurations by client-side and server-side apply", counts)


@pytest.mark.parametrize("seed", range(1))
def test_both_ways_of_applying_agree(world: World, seed: int, tally: Tally) -> None:
    play(world, seed, 2, tally)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 135))
def test_both_ways_of_applying_agree_often(world: World, seed: int, tally: Tally) -> None:
    """1,155 configurations and 770 three-way patches."""
    play(world, seed, 3, tally)


COMMANDS = [  # what kubectl can do with --local
    "label a=9 n=new c-",
    "annotate n=9 z=new m-",
    "set image c=new:9",
    "set env A=9 N=new B-",
    "set resources --limits=cpu=9,memory=9Gi -c c",
    "set serviceaccount robot",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_do_here_what_they_do_there(world: World, command: str) -> None:
    rng = random.Random(command)
    namespace = world.namespace()
    templated = [kind for kind in KINDS if kind in ("Deployment", "DaemonSet", "CronJob")]
    chosen = KINDS if command.startswith(("label", "annotate")) else templated
    objects = [configuration(kind, rng) for kind in chosen]
    world.kubectl("create", "-n", namespace, "-f", world.files(objects), *_QUICK)
    files = world.files([world.get(namespace, obj) for obj in objects])
    verb, *rest = command.split()
    arguments = [verb, *(rest[:1] if verb == "set" else []), "-f", files, *(rest[1:] if verb == "set" else rest)]
    if verb != "set":
        arguments.append("--overwrite")
    local = world.printed(*arguments, "--local")
    assert len(local) == len(objects)
    expected = [world.client.ask("PUT", f"{world.path(namespace, obj)}?dryRun=All", obj)[1] for obj in local]
    world.kubectl(*arguments)
    for obj, written in zip(objects, expected, strict=True):
        assert essence(world.get(namespace, obj)) == essence(written)


def test_the_last_configuration_is_told(world: World) -> None:
    rng = random.Random(1)
    namespace = world.namespace()
    objects = [configuration(kind, rng) for kind in KINDS]
    files = world.files(objects)
    local = world.printed("apply", "--dry-run=client", "-n", namespace, "-f", files, *_QUICK)
    world.kubectl("apply", "-n", namespace, "-f", files, *_QUICK)
    told = json.loads(
        f"[{world.kubectl('apply', 'view-last-applied', '-n', namespace, '-f', files, '-o', 'json')}]".replace(
            "}\n{", "},{"
        )
    )
    for obj, shown, planned in zip(objects, told, local, strict=True):
        assert essence(shown) == essence({**obj, "metadata": {"annotations": {}, **obj["metadata"]}})
        assert essence(planned).items() >= {"kind": obj["kind"]}.items()
        assert planned["metadata"]["annotations"] == world.get(namespace, obj)["metadata"]["annotations"]
