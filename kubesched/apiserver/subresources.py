# SPDX-License-Identifier: Apache-2.0
"""Subresources, and kinds that are asked and not stored.

Those that write a part of the object (status, finalize, approval ...) are the ordinary verbs with the kind's rules for
the part. The others are functions in a table. Source: pkg/registry, v1.36.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

from kubesched.api import meta, schema, selectors, status
from kubesched.api.columns import at
from kubesched.api.options import WriteOptions, delete_options, integer
from kubesched.api.status import FieldError
from kubesched.api.strategy import Object
from kubesched.apiserver import negotiate, patches, render, reviews, verbs
from kubesched.apiserver.endpoint import Endpoint, GroupVersionKind
from kubesched.apiserver.eviction import evict
from kubesched.apiserver.message import Answer, Request, Response
from kubesched.apiserver.resource import Item
from kubesched.apiserver.routes import Route

if TYPE_CHECKING:
    from kubesched.apiserver.app import App

_Handler = Callable[[Request, Endpoint, "App"], Awaitable[Answer]]

_PART: dict[str, verbs.Verb] = {
    "GET": verbs.get,
    "HEAD": verbs.get,
    "PUT": verbs.update,
    "PATCH": verbs.patch_object,
}
_VERBS = {"GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "POST": "create", "DELETE": "delete"}
SCALE = GroupVersionKind("autoscaling", "v1", "Scale")


async def dispatch(request: Request, endpoint: Endpoint, route: Route, app: App) -> Answer:
    """Answer a request for a subresource."""
    kind = route.kind
    subresource = kind.subresources[route.subresource]
    if _VERBS.get(request.method) not in subresource.verbs:
        raise status.method_not_allowed()
    own = _CONNECT.get((kind.plural, route.subresource))
    if own is not None:
        return await own(request, endpoint, app)
    if route.subresource == "scale":
        return await _scale(request, endpoint)
    handler = _HANDLERS.get((kind.plural, route.subresource))
    if handler is not None and request.method == "POST":
        return await handler(request, endpoint, app)
    if endpoint.resource.strategy.part(route.subresource) is None and request.method != "GET":
        raise status.method_not_supported(kind.group, f"{kind.plural}/{route.subresource}", request.method.lower())
    return await _PART[request.method](request, endpoint)


async def ask(request: Request, endpoint: Endpoint, app: App) -> Answer:
    """A kind that is not stored: a review gets its answer, a binding is carried out, a component says how it is."""
    handler = _ASKED.get(endpoint.resource.kind.plural)
    if handler is None:
        kind = endpoint.resource.kind
        raise status.method_not_supported(kind.group, kind.plural, "create")
    return await handler(request, endpoint, app)


async def body_of(request: Request, gvk: GroupVersionKind, options: WriteOptions) -> Object:
    """The body of a request that is not the endpoint's own kind, decoded; unknown fields are told."""
    return await verbs.read_body(request, schema.of(*gvk), gvk, options)


# ---- scale ----


def scale_of(obj: Object, endpoint: Endpoint) -> Object:
    """The Scale that an object shows."""
    rule = endpoint.resource.strategy.scale
    if rule is None:
        raise status.no_such_path()
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = at(obj, *rule.selector)
    state: Object = {"replicas": at(obj, *rule.current) or 0}
    if isinstance(selector, dict) and selector:
        plain = "matchLabels" not in selector and "matchExpressions" not in selector
        state["selector"] = selectors.text({"matchLabels": selector} if plain else selector)
    elif isinstance(selector, str):
        state["selector"] = selector
    return {
        "kind": SCALE.kind,
        "apiVersion": SCALE.api_version,
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": replicas} if (replicas := at(obj, *rule.wanted)) else {},
        "status": state,
    }


async def _scale(request: Request, endpoint: Endpoint) -> Answer:
    form = verbs.form_of(request, endpoint)
    resource = endpoint.resource
    if request.method in ("GET", "HEAD"):
        entry = await resource.get(endpoint.namespace, endpoint.name)
        return render.plain(scale_of(resource.decode(entry), endpoint), form)
    options = verbs.options_of(request, "UpdateOptions" if request.method == "PUT" else "PatchOptions")
    wanted = await _scale_writer(request, endpoint, options)

    def renew(live: Object) -> Object:
        scale = wanted(scale_of(live, endpoint))
        _check_scale(scale, live, endpoint)
        rule = resource.strategy.scale
        target = live
        if rule is not None:
            for name in rule.wanted[:-1]:
                target = target.setdefault(name, {})
            target[rule.wanted[-1]] = (scale.get("spec") or {}).get("replicas", 0)
        return live

    item = await resource.update(
        endpoint.namespace, endpoint.name, renew, endpoint.admission(request, options), dry_run=options.dry_run
    )
    return render.plain(scale_of(resource.object_of(item), endpoint), form)


async def _scale_writer(request: Request, endpoint: Endpoint, options: WriteOptions) -> Callable[[Object], Object]:
    """From the Scale that is to the Scale that is wanted."""
    if request.method == "PUT":
        scale = await body_of(request, SCALE, options)
        verbs.fit_namespace(scale.setdefault("metadata", {}), endpoint)
        verbs.check_name(scale["metadata"], endpoint)
        return lambda current: scale
    media_type = patches.media_type_of(request, patches.plain(endpoint))
    return patches.changer(await request.read(), media_type, request, schema.of(*SCALE), options)


def _check_scale(scale: Object, live: Object, endpoint: Endpoint) -> None:
    kind = endpoint.resource.kind
    given = (scale.get("metadata") or {}).get("resourceVersion")
    if given and given != live["metadata"]["resourceVersion"]:
        raise status.conflict(kind.group, kind.plural, endpoint.name)
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if replicas < 0:
        wrong = status.invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")
        raise status.invalid(SCALE.group, SCALE.kind, endpoint.name, [wrong])


# ---- pods ----


async def _bind(request: Request, endpoint: Endpoint, app: App) -> Answer:
    """Set a pod's node, once; annotations and labels of the binding go to the pod."""
    options = verbs.options_of(request, "CreateOptions")
    binding = await body_of(request, GroupVersionKind("", "v1", "Binding"), options)
    metadata, target = binding.get("metadata") or {}, binding.get("target") or {}
    name = endpoint.name or metadata.get("name", "")
    if target.get("kind") not in (None, "", "Node"):
        wrong = status.not_supported("target.kind", target["kind"], ["Node", "<empty>"])
        raise status.invalid("", "Binding", name, [wrong])
    if not target.get("name"):
        raise status.invalid("", "Binding", name, [status.required("target.name")])
    pods = app.resource_of("", "v1", "pods")

    def renew(live: Object) -> Object:
        return _bound(live, name, metadata, target["name"], app)

    await pods.update(endpoint.namespace, name, renew, subresource="binding", dry_run=options.dry_run)
    return render.plain(status.success(201), verbs.form_of(request, endpoint), 201)


def _bound(pod: Object, name: str, metadata: Object, node: str, app: App) -> Object:
    uid = metadata.get("uid")
    if uid and uid != pod["metadata"]["uid"]:
        raise status.conflict("", "pods", name, status.other_uid(uid, pod["metadata"]["uid"]))
    spec = pod.get("spec") or {}
    if pod["metadata"].get("deletionTimestamp"):
        raise status.conflict("", "pods/binding", name, f"pod {name} is being deleted, cannot be assigned to a host")
    if spec.get("nodeName"):
        raise status.conflict("", "pods/binding", name, f'pod {name} is already assigned to node "{spec["nodeName"]}"')
    if spec.get("schedulingGates"):
        raise status.conflict("", "pods/binding", name, f"pod {name} has non-empty .spec.schedulingGates")
    pod["spec"] = {**spec, "nodeName": node}
    for part in ("annotations", "labels"):
        if metadata.get(part):
            pod["metadata"].setdefault(part, {}).update(metadata[part])
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None}
    meta.set_condition(pod, {**scheduled, "lastTransitionTime": meta.timestamp(app.now())})
    return pod


async def _evict(request: Request, endpoint: Endpoint, app: App) -> Answer:
    options = verbs.options_of(request, "CreateOptions")
    eviction = await body_of(request, GroupVersionKind("policy", "v1", "Eviction"), options)
    name = (eviction.get("metadata") or {}).get("name", "")
    if name != endpoint.name:
        raise status.bad_request("name in URL does not match name in Eviction object")
    delete = delete_options({}, eviction.get("deleteOptions") or {})
    delete.dry_run = delete.dry_run or options.dry_run
    budgets = app.resource_of("policy", "v1", "poddisruptionbudgets")
    await evict(app.resource_of("", "v1", "pods"), budgets, endpoint.namespace, endpoint.name, delete)
    return render.plain(status.success(201), verbs.form_of(request, endpoint), 201)


async def _log(request: Request, endpoint: Endpoint, app: App) -> Answer:
    """The log of a container is on the node that runs the pod; before there is one, it is empty."""
    wrong = list(_wrong_log_options(request))
    if wrong:
        raise status.invalid("", "PodLogOptions", endpoint.name, wrong)
    pod = await _pod(endpoint, app)
    _container(request, pod)
    if not at(pod, "spec", "nodeName"):
        return Response(200, b"", "text/plain")
    raise _no_node(pod)


def _wrong_log_options(request: Request) -> Iterator[FieldError]:
    limit, since, lines = (integer(request.query, name) for name in ("limitBytes", "sinceSeconds", "tailLines"))
    if lines is not None and lines < 0:
        yield status.invalid_value("tailLines", lines, "must be greater than or equal to 0")
    if limit is not None and limit < 1:
        yield status.invalid_value("limitBytes", limit, "must be greater than 0")
    if since is not None and request.query.get("sinceTime"):
        yield status.forbidden_field("", "at most one of `sinceTime` or `sinceSeconds` may be specified")
    elif since is not None and since < 1:
        yield status.invalid_value("sinceSeconds", since, "must be greater than 0")


async def _stream(request: Request, endpoint: Endpoint, app: App) -> Answer:
    """A stream to a container: the business of the node that runs the pod."""
    pod = await _pod(endpoint, app)
    _container(request, pod)
    raise _no_node(pod)


async def _to_pod(request: Request, endpoint: Endpoint, app: App) -> Answer:
    """A connection to what listens in a pod."""
    raise _no_node(await _pod(endpoint, app))


async def _pod(endpoint: Endpoint, app: App) -> Object:
    pods = app.resource_of("", "v1", "pods")
    return pods.decode(await pods.get(endpoint.namespace, endpoint.name))


def _container(request: Request, pod: Object) -> None:
    """Whether the request says which container it means."""
    spec, name = pod.get("spec") or {}, pod["metadata"]["name"]
    known = [
        container["name"]
        for part in ("initContainers", "containers", "ephemeralContainers")
        for container in spec.get(part) or ()
    ]
    wanted = request.query.get("container", ("",))[0]
    if wanted and wanted not in known:
        raise status.bad_request(f"container {wanted} is not valid for pod {name}")
    if not wanted and len(spec.get("containers") or ()) > 1:
        choice = " ".join(known)
        raise status.bad_request(f"a container name must be specified for pod {name}, choose one of: [{choice}]")


def _no_node(pod: Object) -> status.StatusError:
    name, node = pod["metadata"]["name"], at(pod, "spec", "nodeName")
    if not node:
        return status.bad_request(f"pod {name} does not have a host assigned")
    return status.unavailable(f'the node "{node}" of pod {name} cannot be reached')


async def _no_backend(request: Request, endpoint: Endpoint, app: App) -> Answer:
    """Proxies lead to what runs; nothing does."""
    await endpoint.resource.get(endpoint.namespace, endpoint.name)
    raise status.unavailable(f'no endpoints available for "{endpoint.name}"')


# ---- who and what may ----


async def _review(request: Request, endpoint: Endpoint, app: App) -> Answer:
    """Any of the reviews: the body comes back with its answer."""
    form = negotiate.choose(request.headers.get("accept", ""), endpoint.media_types, converts=False)
    review = await body_of(request, endpoint.gvk, verbs.options_of(request, "CreateOptions"))
    match endpoint.gvk.kind:
        case "SelfSubjectReview":
            answer = reviews.myself(request, review)
        case "TokenReview":
            answer = await reviews.token(review, app.authenticate)
        case "SelfSubjectRulesReview":
            answer = reviews.rules(review, request.user, app.authorizer.policy)
        case _:
            answer = reviews.access(review, app.authorizer.decide, request.user, endpoint.namespace)
    return render.plain({**answer, "metadata": answer.get("metadata") or {}}, form, 201)


async def _token(request: Request, endpoint: Endpoint, app: App) -> Answer:
    """A token of a service account, bound to what the request says."""
    options = verbs.options_of(request, "CreateOptions")
    wanted = await body_of(request, GroupVersionKind("authentication.k8s.io", "v1", "TokenRequest"), options)
    account = endpoint.resource.decode(await endpoint.resource.get(endpoint.namespace, endpoint.name))
    spec = wanted.setdefault("spec", {})
    seconds = spec.get("expirationSeconds") or _TOKEN_SECONDS
    if not _MIN_TOKEN_SECONDS <= seconds <= _MAX_TOKEN_SECONDS:
        why = (
            "may not specify a duration less than 10 minutes"
            if seconds < _MIN_TOKEN_SECONDS
            else "may not specify a duration larger than 2^32 seconds"
        )
        wrong = status.invalid_value("spec.expirationSeconds", seconds, why)
        raise status.invalid("authentication.k8s.io", "TokenRequest", "", [wrong])
    token, audiences, expires = await app.issue_token(account, spec, seconds)
    spec.update(audiences=list(audiences), expirationSeconds=seconds)
    wanted["metadata"] = {
        "name": endpoint.name,
        "namespace": endpoint.namespace,
        "creationTimestamp": meta.timestamp(app.now()),
    }
    wanted["status"] = {"token": token, "expirationTimestamp": meta.timestamp(expires)}
    return render.plain(wanted, verbs.form_of(request, endpoint), 201)


async def _component(request: Request, endpoint: Endpoint, app: App) -> Answer:
    """How the parts of the control plane are: of this process there is the store."""
    form = verbs.form_of(request, endpoint)
    healthy = {"type": "Healthy", "status": "True", "message": "ok"}
    component = {
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": "etcd-0"},
        "conditions": [healthy],
    }
    request.warn("v1 ComponentStatus is deprecated in v1.19+")
    if not endpoint.name:
        return render.objects(endpoint.resource, [component], {"resourceVersion": ""}, form)
    if endpoint.name != "etcd-0":
        raise status.not_found("", "componentstatuses", endpoint.name)
    return render.item(endpoint.resource, Item(object=component), form)


_TOKEN_SECONDS = 3600
_MIN_TOKEN_SECONDS = 600
_MAX_TOKEN_SECONDS = 2**32

_CONNECT: dict[tuple[str, str], _Handler] = {
    ("pods", "log"): _log,
    ("pods", "exec"): _stream,
    ("pods", "attach"): _stream,
    ("pods", "portforward"): _to_pod,
    ("pods", "proxy"): _to_pod,
    ("services", "proxy"): _no_backend,
    ("nodes", "proxy"): _no_backend,
}
_HANDLERS: dict[tuple[str, str], _Handler] = {
    ("pods", "binding"): _bind,
    ("pods", "eviction"): _evict,
    ("serviceaccounts", "token"): _token,
}
_ASKED: dict[str, _Handler] = {
    "bindings": _bind,
    "componentstatuses": _component,
    "selfsubjectreviews": _review,
    "tokenreviews": _review,
    "localsubjectaccessreviews": _review,
    "selfsubjectaccessreviews": _review,
    "selfsubjectrulesreviews": _review,
    "subjectaccessreviews": _review,
}
