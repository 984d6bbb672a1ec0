# SPDX-License-Identifier: Apache-2.0
"""What placement sees of nodes and pods, as plain immutable rows with strings.

This is the seam between the towers. ``scheduler/encode.py`` makes these rows from Kubernetes objects and
the readers of ``replay/`` make them from traces; ``state/names.py`` interns their strings for the C engine.
Nothing here knows an API object: a row holds exactly what a filter or a score plugin can tell apart.

Units are canonical: cpu in thousandths of a core, memory and storage in bytes, everything else in counts,
device shares in thousandths of a device. Resource names are Kubernetes' (``cpu``, ``memory``,
``ephemeral-storage``, ``pods``, ``example.com/gpu`` ...).
"""

from __future__ import annotations

from dataclasses import dataclass

from kubesched.base import errors
from kubesched.state.pod_volumes import PodVolumes

CPU = "cpu"
MEMORY = "memory"
EPHEMERAL_STORAGE = "ephemeral-storage"
PODS = "pods"
CORE_RESOURCES = (CPU, MEMORY, EPHEMERAL_STORAGE, PODS)
"""The first resource slots of every engine, in this order (ks.h KS_CPU ...)."""

HOSTNAME_LABEL = "kubernetes.io/hostname"
WILDCARD_IP = "0.0.0.0"
TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
"""Of a Requirement."""
LABEL_OPERATORS = OPERATORS[:4]
"""Of a Requirement in a LabelSelector."""
MAX_QUANTITY = 1 << 56
"""Largest quantity in canonical units that a row may hold (ks.h KS_MAX_QUANTITY)."""


def out_of_range(where: str, amount: int) -> errors.InputError:
    """The error about a quantity that no row can hold."""
    return errors.InputError(where, "is out of range", amount, f"0 to {MAX_QUANTITY}")


def is_extended(resource: str) -> bool:
    """Whether a resource is one that only its users know: of a domain other than Kubernetes' own."""
    return "/" in resource and "kubernetes.io/" not in resource and not resource.startswith("requests.")


@dataclass(frozen=True, slots=True)
class Taint:
    key: str
    value: str
    effect: str
    """NoSchedule, PreferNoSchedule or NoExecute."""


@dataclass(frozen=True, slots=True)
class Toleration:
    key: str
    """Empty with operator Exists: every key."""
    operator: str
    """Equal or Exists; others (Gt, Lt) match nothing, as with their feature gate off."""
    value: str
    effect: str
    """Empty: every effect."""


@dataclass(frozen=True, slots=True)
class Requirement:
    key: str
    operator: str
    """In, NotIn, Exists, DoesNotExist, Gt or Lt."""
    values: tuple[str, ...] = ()
    is_field: bool = False
    """True for matchFields; the only field is metadata.name."""


@dataclass(frozen=True, slots=True)
class Term:
    """Requirements and-ed; without any it matches nothing."""

    requirements: tuple[Requirement, ...]
    weight: int = 0
    """Of a preferred term."""


Labels = tuple[tuple[str, str], ...]
"""Pairs, sorted by key."""
LabelSelector = tuple[Requirement, ...] | None
NOT_STARTED = 2**63 - 1
"""Start of a pod that has none; later than any."""
"""Requirements and-ed, sorted, without Gt and Lt. Empty: matches everything; None: matches nothing."""


@dataclass(frozen=True, slots=True)
class SpreadConstraint:
    topology_key: str
    max_skew: int
    selector: LabelSelector
    hard: bool
    """DoNotSchedule; else ScheduleAnyway."""
    min_domains: int = 1
    honor_affinity: bool = True
    """Count only nodes that the pod's node affinity admits."""
    honor_taints: bool = False
    """Count only nodes whose taints the pod tolerates."""


@dataclass(frozen=True, slots=True)
class PodTerm:
    """A term of inter-pod affinity or anti-affinity."""

    topology_key: str
    selector: LabelSelector
    namespaces: tuple[str, ...] = ()
    """Sorted; the pod's own where the object names none and selects none."""
    namespace_selector: LabelSelector = None
    """More namespaces, by their labels."""
    weight: int = 0
    """Of a preferred term; negative for anti-affinity."""


@dataclass(frozen=True, slots=True)
class HostPort:
    ip: str
    """0.0.0.0 is the wildcard; an empty hostIP is encoded as that."""
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class Image:
    name: str
    """Normalised: with a tag or a digest."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class NodeRow:
    name: str
    allocatable: tuple[tuple[str, int], ...]
    """(resource, amount), sorted by resource; resources that are absent count as 0."""
    labels: tuple[tuple[str, str], ...] = ()
    """Sorted by key."""
    taints: tuple[Taint, ...] = ()
    images: tuple[Image, ...] = ()
    unschedulable: bool = False
    device_count: int = 0
    device_model: str | None = None
    cluster: str = ""
    declared_features: tuple[str, ...] = ()
    """``status.declaredFeatures``, sorted."""


@dataclass(frozen=True, slots=True)
class PodShape:
    """Everything of a pod that placement can see; equal shapes are one pod class."""

    requests: tuple[tuple[str, int], ...]
    """(resource, amount), sorted, zero amounts left out, without ``pods``: filtered by and accounted."""
    fit_requests: tuple[tuple[str, int], ...]
    """What NodeResourcesFit scores with: non-zero defaults in, pod-level requests out."""
    nonzero_cpu_milli: int
    """Added to a node's non-zero usage; 100 per container without a cpu request."""
    nonzero_memory_bytes: int
    node_name: str | None = None
    node_selector: tuple[tuple[str, str], ...] = ()
    required_terms: tuple[Term, ...] | None = None
    """None: no required node affinity. Empty: matches nothing."""
    preferred_terms: tuple[Term, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    host_ports: tuple[HostPort, ...] = ()
    images: tuple[str, ...] = ()
    """Normalised name per container, init container and image volume, repeats kept, in order."""
    n_image_containers: int = 0
    """Containers + init containers."""
    device_count: int = 0
    device_milli: int = 0
    device_models: tuple[str, ...] = ()
    """Allowed models, sorted; empty: any."""
    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    """Of the pod, sorted by key: what other pods' selectors see."""
    terminating: bool = False
    """Being deleted: topology spreading does not count it."""
    spread: tuple[SpreadConstraint, ...] = ()
    spread_is_default: bool = False
    """The constraints are the profile's defaults: nodes without a key are scored, too."""
    required_pods: tuple[PodTerm, ...] = ()
    """Required affinity to pods."""
    required_anti_pods: tuple[PodTerm, ...] = ()
    preferred_pods: tuple[PodTerm, ...] = ()
    node_features: tuple[str, ...] = ()
    """Features that a node must declare, sorted."""
    enforced_terms: tuple[Term, ...] | None = None
    """Node affinity that the profile adds: one of the terms must match; None: none."""
    unchecked: tuple[str, ...] = ()
    """Resources that it requests and that need not fit; they are accounted all the same."""
    volume_group: int = 0
    """Group of pods with volumes of one kind, numbered by ``state/volumes.py``; 0: no volumes that matter."""
    claim_kind: int = 0
    """What its claims ask for, numbered by ``state.claims``; 0: it has none."""


def split_models(text: str) -> tuple[str, ...]:
    """Device models of a list joined by ``|``, in the form of PodShape."""
    return tuple(sorted(model for model in text.split("|") if model))


def plain_shape(cpu_milli: int, memory_bytes: int, count: int, milli: int, models: str) -> PodShape:
    """A shape of cpu, memory and devices alone, where no default fills in what is 0; see `split_models`."""
    amounts = tuple((name, amount) for name, amount in ((CPU, cpu_milli), (MEMORY, memory_bytes)) if amount)
    return PodShape(
        requests=amounts,
        fit_requests=amounts,
        nonzero_cpu_milli=cpu_milli,
        nonzero_memory_bytes=memory_bytes,
        device_count=count,
        device_milli=milli if count else 0,
        device_models=split_models(models) if count else (),
    )


@dataclass(frozen=True, slots=True)
class Gang:
    """A PodGroup: pods that name it are placed together or not at all."""

    namespace: str
    name: str
    min_count: int = 0
    """Pods that must run or fit for any to be placed; 0: the Basic policy, each pod stands for itself."""
    topology_key: str = ""
    """Node label whose value all pods must share; empty: they may go anywhere."""

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class PodClaim:
    """A resource claim that a pod names."""

    claim: str = ""
    """``namespace/name``; empty: none was needed."""
    template: str = ""
    """``namespace/name`` of the template that it is still to be made from."""
    must_own: bool = False
    """It was made for the pod, which must be its owner."""
    problem: str = ""
    """Why it cannot be looked up."""


@dataclass(frozen=True, slots=True)
class ContainerDevices:
    """Extended resources that a container asks for: devices may stand in for them."""

    is_short: bool
    """An init container that ends before the next starts."""
    amounts: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class PodDevices:
    """What a pod asks of DynamicResources."""

    uid: str
    claims: tuple[PodClaim, ...] = ()
    containers: tuple[ContainerDevices, ...] = ()
    """Init containers first; empty if none asks for an extended resource."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A PodDisruptionBudget."""

    namespace: str
    name: str
    selector: LabelSelector
    allowed: int
    """``status.disruptionsAllowed``."""
    disrupted: frozenset[str] = frozenset()
    """Names of pods whose disruption is counted already."""


@dataclass(frozen=True, slots=True)
class PodRow:
    namespace: str
    name: str
    shape: PodShape
    node_name: str | None = None
    """Where it runs already; None: to be placed."""
    priority: int = 0
    preempts: bool = True
    """False with preemptionPolicy Never."""
    started: int = NOT_STARTED
    """``status.startTime``, microseconds since 1970."""
    nominated_node: str = ""
    """Node that a pending pod waits for; empty: none."""
    is_evicted: bool = False
    """It terminates because the scheduler evicted it."""
    scheduling_gates: tuple[str, ...] = ()
    device_ids: tuple[int, ...] = ()
    """Devices that a running pod holds."""
    cluster: str = ""
    group: str = ""
    """Name of its PodGroup in its namespace; empty: none."""
    volumes: PodVolumes | None = None
    """Volumes that placement looks at; None: none."""
    devices: PodDevices | None = None
    scheduler_name: str = "default-scheduler"
    """Which profile of a scheduler with several decides it."""

    @property
    def key(self) -> str:
        """``namespace/name``, the name under which users know a pod."""
        return f"{self.namespace}/{self.name}"

    @property
    def gang(self) -> str:
        """Key of its gang; empty: none."""
        return f"{self.namespace}/{self.group}" if self.group else ""
