# SPDX-License-Identifier: Apache-2.0
"""Writes that need more rights than the request itself: of roles and bindings, and of what is made by an update.

Source: pkg/registry/rbac/{role,clusterrole,rolebinding,clusterrolebinding}/policybased and escalation_check.go, v1.36.
"""

from __future__ import annotations

from kubesched.api import status
from kubesched.api.strategy import Object
from kubesched.apiserver.admission.chain import Attributes
from kubesched.apiserver.authorization import attributes, rules
from kubesched.apiserver.authorization.attributes import Attributes as Asked
from kubesched.apiserver.authorization.authorizer import Authorizer
from kubesched.apiserver.authorization.policy import GROUP, MASTERS, RESOURCES
from kubesched.apiserver.message import User

_ROLES = (RESOURCES["ClusterRole"], RESOURCES["Role"])
_OF_THE_COLLECTOR = ("ownerReferences", "finalizers", "managedFields")


class NoEscalation:
    """Roles hold what their writer holds, unless they may ``escalate``; bindings as well, or they may ``bind``."""

    def __init__(self, authorizer: Authorizer, plural: str) -> None:
        self._authorizer = authorizer
        self.resource = GROUP, plural

    async def admit(self, write: Attributes) -> None:
        """Last of those that may change an object, so that what is judged is what will be stored."""
        user, new = write.request.user, write.new
        if new is None or MASTERS in user.groups:
            return
        if write.old is not None and _as_for_the_collector(new, write.old):
            return
        where = write.endpoint.namespace
        is_role = self.resource[1] in _ROLES
        why = self._lacking(write, user, new, where) if is_role else self._unbound(user, new, where)
        if why:
            raise status.forbidden(*self.resource, new["metadata"].get("name", ""), why)

    def _lacking(self, write: Attributes, user: User, new: Object, namespace: str) -> str:
        """What the writer of a role lacks."""
        asked = attributes.of(write.request)
        escalate = Asked(user, "escalate", GROUP, "*", self.resource[1], "", asked.namespace, asked.name)
        if self._authorizer.decide(escalate).allowed:
            return ""
        policy = self._authorizer.policy
        why = policy.missing(user, namespace, new.get("rules") or [])
        if why:
            return why
        unions = any((obj.get("aggregationRule") or {}).get("clusterRoleSelectors") for obj in (new, write.old or {}))
        if unions and policy.missing(user, namespace, rules.EVERYTHING):
            return "must have cluster-admin privileges to use the aggregationRule"
        return ""

    def _unbound(self, user: User, new: Object, namespace: str) -> str:
        """What the writer of a binding lacks."""
        ref = new.get("roleRef") or {}
        kind, name = ref.get("kind", ""), ref.get("name", "")
        plural = RESOURCES.get(kind, "")
        if plural in _ROLES:
            bind = Asked(user, "bind", ref.get("apiGroup", ""), "*", plural, "", namespace, name)
            if self._authorizer.decide(bind).allowed:
                return ""
        policy = self._authorizer.policy
        return policy.missing(user, namespace, policy.rules_of_role(kind, name, namespace))


def _as_for_the_collector(new: Object, old: Object) -> bool:
    """Whether only what the garbage collector writes is different."""
    kept = {name: value for name, value in new["metadata"].items() if name not in _OF_THE_COLLECTOR}
    same = {name: value for name, value in old["metadata"].items() if name not in _OF_THE_COLLECTOR}
    return {**new, "metadata": kept} == {**old, "metadata": same}


class CreateOnUpdate:
    """A write that updates what is there and makes what is not needs both permissions."""

    resource = None

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, write: Attributes) -> None:
        if write.operation == "CREATE" and write.request.method != "POST":
            self._authorizer.check(attributes.of(write.request)._replace(verb="create"))
