# SPDX-License-Identifier: Apache-2.0
"""The table of queueing hints: which plugins hear which events.

Source: pkg/scheduler buildQueueingHintMap, v1.36.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kubesched.scheduler import events, hints, storage_hints
from kubesched.scheduler.events import Action
from kubesched.scheduler.hints import Registration

BY_PLUGIN: Mapping[str, tuple[Registration, ...]] = {**hints.BY_PLUGIN, **storage_hints.BY_PLUGIN}
"""What each plugin of the default profile registers itself."""


def of_plugins(plugins: Collection[str] = tuple(BY_PLUGIN)) -> dict[str, tuple[Registration, ...]]:
    """Registrations of a profile's plugins. Plugins without any are left out.

    A plugin that hears of new nodes also hears, without a question, of taints: upstream adds this for all of them,
    because a new node used to be announced only to pods that its taints let in.
    """
    return {name: _with_taints(BY_PLUGIN[name]) for name in plugins if name in BY_PLUGIN}


def _with_taints(own: tuple[Registration, ...]) -> tuple[Registration, ...]:
    on_nodes = [r.actions for r in own if r.resource == events.NODE]
    hears_new = any(Action.ADD in actions for actions in on_nodes)
    hears_taints = any(Action.NODE_TAINT in actions for actions in on_nodes)
    return (*own, Registration(events.NODE, Action.NODE_TAINT)) if hears_new and not hears_taints else own
