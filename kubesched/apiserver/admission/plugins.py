# SPDX-License-Identifier: Apache-2.0
"""Who has a say, in upstream's order. Source: pkg/kubeapiserver/options/plugins.go, v1.36."""

from __future__ import annotations

from collections.abc import Callable

from kubesched.apiserver import signing
from kubesched.apiserver.addresses import ServiceAddresses
from kubesched.apiserver.admission import classes, namespaces, pods, rights, signers
from kubesched.apiserver.admission.chain import Chain
from kubesched.apiserver.authorization.authorizer import Authorizer
from kubesched.apiserver.authorization.policy import RESOURCES
from kubesched.apiserver.resource import Resource


def chain(resource_of: Callable[[str, str, str], Resource], authorizer: Authorizer) -> Chain:
    """All plugins; behind those of upstream's list comes what its registries do by themselves.

    Parameters
    ----------
    resource_of
        From group, version and plural to the objects of a kind.
    authorizer
        Whom those ask that let a write pass only for who has a right of its own.
    """
    priorities = resource_of("scheduling.k8s.io", "v1", "priorityclasses")
    storage_classes = resource_of("storage.k8s.io", "v1", "storageclasses")
    return Chain(
        [
            namespaces.NamespaceLifecycle(resource_of("", "v1", "namespaces")),
            pods.Priority(priorities),
            pods.DefaultTolerationSeconds(),
            classes.default_storage_class(storage_classes),
            classes.default_ingress_class(resource_of("networking.k8s.io", "v1", "ingressclasses")),
            signing.Requester(),
            ServiceAddresses(resource_of("", "v1", "services")),
            *(rights.NoEscalation(authorizer, plural) for plural in RESOURCES.values()),
        ],
        [
            rights.CreateOnUpdate(authorizer),
            namespaces.ImmortalNamespaces(),
            pods.OneDefaultPriority(priorities),
            classes.ClaimResize(storage_classes),
            signers.Signers(authorizer),
            signers.SubjectRestriction(),
        ],
    )
