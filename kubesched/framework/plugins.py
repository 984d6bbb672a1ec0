# SPDX-License-Identifier: Apache-2.0
"""Users' plugins: decorators, the names under which profiles find them, and errors in words.

A plugin judges one node for one pod from numbers (`kernel.plugin` lists them), so that both drivers can ask it for the
rows that changed and nothing else. It must depend on these numbers alone.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubesched.base import errors
from kubesched.kernel import arrays, native, plugin
from kubesched.state import live, rows

Judge = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True, eq=False)
class UserPlugin:
    """A filter or score plugin that a user wrote; still callable as the plain function.

    Parameters
    ----------
    columns
        Node columns (`Cluster.add_node_column`) that it reads as ``node.<name>``.
    labels
        Attribute name to label key: the label's value as an integer, NaN where it is absent or none.
    resources
        Attribute name to resource, beside cpu, memory, ephemeral_storage and pods.
    normalize
        How scores come into 0..100: ``none``, ``clamp``, ``max``, ``max-reverse`` or ``min-max`` (ks.h KS_NORMALIZE_*).
    vectorized
        The function takes and returns NumPy arrays and is called in Python.
    reason
        Of a filter, for nodes that it refuses; counted in the pod's message.
    """

    name: str
    function: Judge
    is_filter: bool
    columns: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, str] = field(default_factory=dict)
    normalize: str = "none"
    vectorized: bool = False
    reason: str = ""
    _hooks: list[plugin.Hook] = field(default_factory=list, repr=False)

    def __call__(self, node: Any, pod: Any) -> Any:
        return self.function(node, pod)

    @property
    def where(self) -> str:
        """Names the plugin in errors."""
        return f"plugin {self.name}"

    @property
    def inputs(self) -> plugin.Inputs:
        """Everything that it may read."""
        return plugin.Inputs.of(self.columns, self.labels, self.resources)

    def hook(self) -> plugin.Hook:
        """What C calls, new for each engine; compiled once."""
        if self.vectorized:
            return plugin.vectorised(self.function, self.inputs)
        if not self._hooks:
            from kubesched.kernel import compiled

            self._hooks.append(compiled.compile_function(self.function, self.inputs, self.is_filter, self.where))
        made = self._hooks[0]
        return plugin.Hook(made.function, made.context, made.inputs, made.alive)


_REGISTRY: dict[str, UserPlugin] = {}


def score_plugin(
    function: Judge | None = None,
    *,
    name: str | None = None,
    columns: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    resources: Mapping[str, str] | None = None,
    normalize: str = "none",
    vectorized: bool = False,
) -> Any:
    """Make a score plugin of a function of (node, pod) that returns a number; larger is better.

    Profiles name it as a `ScorePlugin` (its name is the function's unless ``name`` is given). A plugin of the same name
    takes the place of an earlier one. The parameters are those of `UserPlugin`.

    Raises
    ------
    PluginError
        Another signature, a name of a built-in plugin, or names that collide.
    """

    def make(judge: Judge) -> UserPlugin:
        chosen = name or str(getattr(judge, "__name__", ""))
        wanted = (tuple(columns), dict(labels or {}), dict(resources or {}))
        return _add(UserPlugin(chosen, judge, False, *wanted, normalize, vectorized))

    return make if function is None else make(function)


def filter_plugin(
    function: Judge | None = None,
    *,
    name: str | None = None,
    columns: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    resources: Mapping[str, str] | None = None,
    reason: str | None = None,
    vectorized: bool = False,
) -> Any:
    """Make a filter of a function of (node, pod) that returns a boolean: True where the pod may go.

    Profiles name it among their filters. It is asked after all built-in filters; evicting pods may cure its refusal.
    See `score_plugin`.
    """

    def make(judge: Judge) -> UserPlugin:
        chosen = name or str(getattr(judge, "__name__", ""))
        wanted = (tuple(columns), dict(labels or {}), dict(resources or {}))
        text = reason or f"node(s) didn't pass plugin {chosen}"
        return _add(UserPlugin(chosen, judge, True, *wanted, "none", vectorized, text))

    return make if function is None else make(function)


def _add(made: UserPlugin) -> UserPlugin:
    _check_signature(made)
    if made.name in native.FILTERS or made.name in native.SCORES or not made.name.isidentifier():
        raise errors.PluginError(made.where, "cannot have this name", made.name, "an identifier of its own")
    if made.normalize not in plugin.NORMALIZATIONS:
        known = ", ".join(plugin.NORMALIZATIONS)
        raise errors.PluginError(made.where, "has an unknown normalisation", made.normalize, f"one of {known}")
    named = [*made.columns, *made.labels]
    for attribute in named:
        if attribute in plugin.RESERVED or named.count(attribute) > 1 or not _is_attribute(attribute):
            raise errors.PluginError(made.where, "cannot read a column or label so named", attribute, "another name")
    for attribute in made.resources:
        if attribute in plugin.CORE or not _is_attribute(attribute):
            raise errors.PluginError(made.where, "cannot read a resource so named", attribute, "another name")
    if rows.HOSTNAME_LABEL in made.labels.values():
        raise errors.PluginError(made.where, "reads a label that has no numbers", rows.HOSTNAME_LABEL, "another label")
    _REGISTRY[made.name] = made
    return made


def _is_attribute(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_")


def _check_signature(made: UserPlugin) -> None:
    plain = getattr(made.function, "py_func", made.function)
    expected = "a function of two positional parameters: (node, pod)"
    if not inspect.isfunction(plain):
        raise errors.PluginError(made.where, "is not a function", type(plain).__name__, expected)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = inspect.signature(plain)
    if len(found.parameters) != 2 or any(p.kind not in kinds for p in found.parameters.values()):
        raise errors.PluginError(made.where, "has the wrong signature", f"{made.name}{found}", expected)


def find(name: str, is_filter: bool) -> UserPlugin:
    """Look a user's plugin up.

    Raises
    ------
    PluginError
        Unknown, built-in plugins included; names the nearest known one.
    """
    found = _REGISTRY.get(name)
    if found is not None and found.is_filter == is_filter:
        return found
    kind, built_in = ("filter", native.FILTERS) if is_filter else ("score", native.SCORES)
    known = [*built_in, *(p.name for p in _REGISTRY.values() if p.is_filter == is_filter)]
    near = difflib.get_close_matches(name, known, 1, 0.0)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise errors.PluginError(f"profile: {kind} plugin", f"is unknown{hint}", name, "a built-in or registered plugin")


def register(state: live.ClusterState, user: UserPlugin) -> int:
    """Add a user's plugin to the state's engine and return its id for profiles.

    Raises
    ------
    PluginError
        It cannot be compiled, or the cluster lacks a column that it reads.
    """
    for name in user.columns:
        _column(state, user, name)  # also those that the compiled function turns out not to read
    hook = user.hook()
    which = arrays.int32([_which(state, user, leaf) for leaf in hook.inputs.node + hook.inputs.pod])
    hook.error = lambda failure: _error(state, user, hook, failure)
    if not user.is_filter:
        return state.engine.add_user_score(hook, which, user.normalize)
    number = state.engine.add_user_filter(hook, which)
    state.user_filters[number] = (user.name, user.reason)
    return number


def _which(state: live.ClusterState, user: UserPlugin, leaf: plugin.Leaf) -> int:
    """Id that an input names."""
    if leaf.kind in plugin.OF_RESOURCE:
        return state.names.resource_id(leaf.name)
    if leaf.kind == plugin.OF_LABEL:
        return state.names.keys.id(leaf.name)
    return _column(state, user, leaf.name) if leaf.kind == plugin.OF_COLUMN else 0


def _column(state: live.ClusterState, user: UserPlugin, name: str) -> int:
    found = state.columns.find(name)
    if found is None:
        known = ", ".join(state.columns.names) or "no columns"
        expected = f"one of the cluster's ({known}): add it with Cluster.add_node_column"
        raise errors.PluginError(user.where, "reads a column that is not there", name, expected)
    return found


_ALLOWED = {
    "none": "0 to 100 (or normalize='clamp')",
    "clamp": "a number",
    "max": "0 to 2^53",
    "max-reverse": "0 to 2^53",
}


def _error(state: live.ClusterState, user: UserPlugin, hook: plugin.Hook, failure: plugin.Failure) -> BaseException:
    """What went wrong, on which node."""
    node = state.node_name(failure.row)
    if not failure.raised:
        expected = "True or False" if user.is_filter else _ALLOWED.get(user.normalize, "-2^53 to 2^53")
        what = f"gave an answer that is not allowed for node {node}"
        return errors.PluginError(user.where, what, failure.value, expected)
    error = hook.caught.pop() if hook.caught else _again(user, hook, failure)
    if error is not None and not isinstance(error, Exception):
        return error  # an interrupt
    text = "an exception" if error is None else f"{type(error).__name__}: {error}"
    made = errors.PluginError(user.where, f"raised {text} (node {node})")
    made.__cause__ = error
    return made


def _again(user: UserPlugin, hook: plugin.Hook, failure: plugin.Failure) -> Exception | None:
    """The exception of a compiled function: the plain one meets the same numbers."""
    node, pod = plugin.Tuples.of("node", hook.inputs.node), plugin.Tuples.of("pod", hook.inputs.pod)
    try:
        user.function(node.fill(failure.node), pod.fill(failure.pod))
    except Exception as error:  # whatever the user's function raises
        return error
    return None
