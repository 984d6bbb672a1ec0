# SPDX-License-Identifier: Apache-2.0
"""Unmodified kubectl, every version that is found here, against a real server over TLS.

Each version plays the same script in order; a line says what the command must print, or that it must fail.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from kubesched import testing

VERSIONS = ("1.27", "1.28", "1.29", "1.30", "1.31", "1.32", "1.33")
FILES = Path(__file__).parent / "files"
MANIFESTS = Path(__file__).parents[3] / "shared" / "data" / "manifests"
_SECONDS = 60


def _found() -> dict[str, str]:
    """Binaries by minor version: beside the kubectl on PATH, and that one itself."""
    out: dict[str, str] = {}
    main = shutil.which("kubectl")
    folders = {Path(main).resolve().parent} if main else set()
    for folder in folders:
        for version in VERSIONS:
            path = folder / f"kubectl.{version}"
            if path.exists():
                out[version] = str(path)
    if main and not out:
        text = subprocess.run([main, "version", "--client", "-o", "json"], capture_output=True, text=True, check=True)
        told = json.loads(text.stdout)["clientVersion"]
        out[f"{told['major']}.{re.sub('[^0-9]', '', told['minor'])}"] = main
    return out


BINARIES = _found()


class Kubectl:
    """One version with one server."""

    def __init__(self, binary: str, kubeconfig: Path, home: Path) -> None:
        self._command = [binary, "--kubeconfig", str(kubeconfig), "--cache-dir", str(home / "cache")]
        self._environment = {"HOME": str(home), "PATH": os.environ["PATH"], "KUBE_EDITOR": "sed -i s/old/new/"}

    def __call__(self, *arguments: str, stdin: str = "", rc: int | None = 0) -> str:
        """What it prints; ``rc`` None lets it end as it likes."""
        code, printed = self.run(*arguments, stdin=stdin)
        assert rc in (None, code), (arguments, code, printed)
        return printed

    def run(self, *arguments: str, stdin: str = "") -> tuple[int, str]:
        """Its exit code, and what it prints on both streams."""
        done = subprocess.run(
            [*self._command, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
            env=self._environment,
        )
        return done.returncode, done.stdout + done.stderr


_ALWAYS = ("1.27", "1.33")  # the others are between them


@pytest.fixture(
    scope="module",
    params=[v if v in _ALWAYS else pytest.param(v, marks=pytest.mark.nightly) for v in VERSIONS],
)
def kubectl(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    version = request.param
    if version not in BINARIES:
        pytest.skip(f"no kubectl {version} here; found: {', '.join(BINARIES) or 'none'}")
    folder = tmp_path_factory.mktemp(f"kubectl-{version}")
    with testing.serve(folder) as server:
        yield Kubectl(BINARIES[version], server.kubeconfig, folder)


class Step(NamedTuple):
    """One command, what it must print (a regular expression), and its exit code."""

    command: str
    expected: str = ""
    rc: int = 0


DEPLOYMENT = str(FILES / "deployment.yaml")
CHANGED = str(FILES / "changed.yaml")
CRD = str(FILES / "crd.yaml")

SCRIPT = [
    Step("version", r"Server Version:.*v1\.36"),
    Step("api-versions", r"(?s)apps/v1\n.*storage\.k8s\.io/v1"),
    Step("api-resources", r"deployments +deploy +apps/v1 +true +Deployment"),
    Step("api-resources --api-group=apps -o name", r"statefulsets\.apps"),
    Step("cluster-info", "control plane"),
    Step("get --raw /healthz", "ok"),
    Step("get --raw /metrics", r'apiserver_request_total\{.*verb="GET"'),
    Step("get namespaces", r"default +Active"),
    Step("create ns nsx", "created"),
    Step("create ns nsx", "already exists", 1),
    Step(f"create -f {DEPLOYMENT}", "deployment.apps/web created"),
    Step(f"create -f {DEPLOYMENT}", "AlreadyExists", 1),
    Step(f"apply -f {DEPLOYMENT}", "web configured"),
    Step(f"apply -f {DEPLOYMENT}", "web unchanged"),
    Step(f"diff -f {DEPLOYMENT}"),
    Step(f"diff -f {CHANGED}", r"(?m)^\+.*nginx:2", 1),
    Step(f"apply -f {CHANGED} --dry-run=server", "server dry run"),
    Step(f"apply -f {CHANGED}", "web configured"),
    Step("get deploy web -o jsonpath={.spec.template.spec.containers[0].image}", "^nginx:2$"),
    Step(f"apply --server-side -f {DEPLOYMENT} --force-conflicts", "serverside-applied"),
    Step("get deploy web --show-managed-fields -o yaml", "operation: Apply"),
    Step(f"replace -f {CHANGED}", "replaced"),
    Step("get deploy", r"NAME +READY +UP-TO-DATE +AVAILABLE +AGE\nweb +0/2 +0 +0 "),
    Step("get deploy -o wide", r"SELECTOR\nweb .* nginx +nginx:2 +app=web"),
    Step("get deploy -o name", "^deployment.apps/web$"),
    Step("get deploy -o json", '"kind": "List"'),
    Step("get deploy --sort-by=.metadata.name", "web"),
    Step("get all", "deployment.apps/web"),
    Step("get pods", "No resources found"),
    Step("get nothing", "the server doesn't have a resource type", 1),
    Step("get deploy nothing", r'deployments\.apps "nothing" not found', 1),
    Step("scale deployment web --replicas=3", "scaled"),
    Step("scale deployment web --replicas=1 --current-replicas=3", "scaled"),
    Step("set image deployment/web nginx=nginx:3", "image updated"),
    Step("set env deployment/web A=B", "env updated"),
    Step("set resources deployment/web --limits=cpu=100m", "resource requirements updated"),
    Step("label deploy web x=y", "labeled"),
    Step("label deploy web x=z", "--overwrite is false", 1),
    Step("label deploy web x-", "unlabeled"),
    Step("annotate deploy web a=b", "annotated?"),
    Step('patch deployment web -p {"spec":{"replicas":2}}', "patched"),
    Step('patch deployment web --type=merge -p {"spec":{"replicas":4}}', "patched"),
    Step('patch deployment web --type=json -p [{"op":"replace","path":"/spec/replicas","value":5}]', "patched"),
    Step('patch deployment web --subresource=scale --type=merge -p {"spec":{"replicas":6}}', "patched"),
    Step("get deploy web -o jsonpath={.spec.replicas}", "^6$"),
    Step(
        'patch deployment web --type=json -p [{"op":"remove","path":"/nothing"}]', "the server rejected our request", 1
    ),
    Step("rollout history deployment/web", "No rollout history found"),
    Step("rollout restart deployment/web", "restarted"),
    Step("rollout pause deployment/web", "paused"),
    Step("rollout resume deployment/web", "resumed"),
    Step("rollout undo deployment/web", "no rollout history found", 1),
    Step("expose deployment web --port=80", "service/web exposed"),
    Step("get svc web", r"web +ClusterIP +10\.[0-9.]+ +<none> +80/TCP"),
    Step("describe svc web", r"Port: +<unset> +80/TCP"),
    Step("describe deployment web", r"StrategyType: +RollingUpdate"),
    Step("describe ns default", r"Status: +Active"),
    Step("autoscale deployment web --min=1 --max=3", "autoscaled"),
    Step("get hpa", r"web +Deployment/web"),
    Step("create configmap edited --from-literal=a=old", "created"),
    Step("edit configmap edited", "edited"),
    Step("get configmap edited -o jsonpath={.data.a}", "^new$"),
    Step("create secret generic s --from-literal=a=b", "created"),
    Step("get secret s -o jsonpath={.data.a}", "^Yg==$"),
    Step("create serviceaccount robot", "created"),
    Step("create token robot", r"^ey[\w-]+\.[\w-]+\.[\w-]+$"),
    Step("create quota q --hard=pods=3", "created"),
    Step("create job j --image=busybox", "created"),
    Step("create cronjob c --image=busybox --schedule=@hourly", "created"),
    Step("create ingress i --rule=a.com/=svc:80", "created"),
    Step("create pdb b --selector=a=b --min-available=1", "created"),
    Step("create priorityclass pc --value=3", "created"),
    Step("create role r --verb=get --resource=pods", "created"),
    Step("create rolebinding rb --role=r --user=u", "created"),
    Step("create clusterrole cr --verb=get --resource=nodes", "created"),
    Step("create clusterrolebinding crb --clusterrole=cr --user=u", "created"),
    Step("get job,cronjob,ingress,pdb,quota,priorityclass,role,rolebinding", "job.batch/j"),
    Step("run p1 --image=nginx", "created"),
    Step("run p2 --image=nginx --restart=Never --dry-run=server -o yaml", "restartPolicy: Never"),
    Step("get pods", r"NAME +READY +STATUS +RESTARTS +AGE\np1 +0/1 +Pending +0 "),
    Step("get pods -o wide -l run=p1", r"<none> +<none> +<none> +<none>"),
    Step("get pods --field-selector=status.phase=Running", "No resources found"),
    Step("get pod p1 --subresource=status -o name", "pod/p1"),
    Step("get pods --chunk-size=1 -A", "p1"),
    Step("describe pod p1", r"Status: +Pending"),
    Step("logs p1", "^$"),
    Step("exec p1 -- ls", "does not have a host assigned", 1),
    Step("wait --for=condition=Ready pod/p1 --timeout=1s", "timed out", 1),
    Step("wait --for=delete pod/none --timeout=1s"),
    Step("debug p1 --image=busybox --attach=false", ""),
    Step("get pod p1 -o jsonpath={.spec.ephemeralContainers[0].image}", "^busybox$"),
    Step("explain pods.spec.containers.image", "Container image name"),
    Step("explain deployment.spec.template --recursive", "terminationGracePeriodSeconds"),
    Step("auth can-i create pods", "yes"),
    Step("auth can-i --list", r"\*\.\*"),
    Step("get events", "No resources found"),
    Step(f"create -f {FILES / 'node.yaml'}", "node/n1 created"),
    Step("get nodes", r"n1 +Unknown +<none>"),
    Step("cordon n1", "cordoned"),
    Step("get nodes", r"n1 +Unknown,SchedulingDisabled"),
    Step("uncordon n1", "uncordoned"),
    Step("taint nodes n1 a=b:NoSchedule", "tainted"),
    Step("describe node n1", r"Taints: +a=b:NoSchedule"),
    Step("drain n1 --force --ignore-daemonsets --timeout=5s", "drained"),
    Step(f"create -f {FILES / 'csr.yaml'}", "created"),
    Step("certificate approve csr1", "approved"),
    Step("get csr csr1", "Approved"),
    Step(f"apply -f {CRD}", "created"),
    Step("wait --for=condition=Established crd/things.example.com --timeout=10s", "condition met"),
    Step(f"apply -f {FILES / 'thing.yaml'}", "thing.example.com/one created"),
    Step("get things", r"NAME +SIZE +AGE\none +3 "),
    Step("get things one -o jsonpath={.spec.color}", "^red$"),
    Step("scale thing one --replicas=4", "scaled"),
    Step(f"apply -f {FILES / 'bad-thing.yaml'}", "spec.size", 1),
    Step("delete crd things.example.com", "deleted"),
    Step("delete pod p1 --grace-period=0 --force", "force deleted"),
    Step("delete deployment web --cascade=orphan --wait=false", "deleted"),
    Step("delete job j --cascade=background", "deleted"),
    Step("delete cm --all", "deleted"),
    Step("delete ns default --wait=false", "this namespace may not be deleted", 1),
]


def test_the_script(kubectl: Kubectl) -> None:
    failed = []
    for step in SCRIPT:
        code, printed = kubectl.run(*step.command.split(" "))
        if (code != 0) != (step.rc != 0) or not re.search(step.expected, printed.rstrip("\n")):
            failed.append((step, code, printed))
    assert not failed


def test_who_am_i(kubectl: Kubectl, request: pytest.FixtureRequest) -> None:
    if "1.27" in request.node.name:
        pytest.skip("it asks for versions of the API that no server of today has")
    assert "kubernetes-admin" in kubectl("auth", "whoami")


def test_pruning(kubectl: Kubectl) -> None:
    maps = [f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {n}, labels: {{set: one}}}}" for n in ("a", "b")]
    kubectl("apply", "--prune", "-l", "set=one", "-f", "-", stdin="\n---\n".join(maps))
    assert "configmap/b pruned" in kubectl("apply", "--prune", "-l", "set=one", "-f", "-", stdin=maps[0])


def test_watching(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "watched")
    printed = kubectl("get", "configmaps", "watched", "-w", "--request-timeout=2s", rc=None)
    assert "watched" in printed


@pytest.mark.skipif(not MANIFESTS.is_dir(), reason="the applications are not here")
@pytest.mark.parametrize("name", [path.name for path in sorted(MANIFESTS.glob("*.yaml"))])
def test_an_application(kubectl: Kubectl, name: str) -> None:
    path = str(MANIFESTS / name)
    kubectl("apply", "-f", path)
    assert kubectl("diff", "-f", path) == ""
    kubectl("delete", "-f", path)
