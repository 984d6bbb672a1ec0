# SPDX-License-Identifier: Apache-2.0
"""A KubeSchedulerConfiguration v1 file, from text to profiles that decide.

``read`` the document, ``problems_of`` it, ``load`` all of it: strict fields, defaults, validation, plugins of every
extension point, and the translation to profiles of the engine. What kube-scheduler takes and kubesched does not
implement is refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubesched.api import manifest
from kubesched.base import errors
from kubesched.framework.profile import Profile, ProfileMap
from kubesched.scheduler.config import defaulting, plugins, problems, schema, translate, validation
from kubesched.scheduler.config.problems import Problem


@dataclass(frozen=True, slots=True)
class ProfileConfig:
    """A profile of the configuration.

    Parameters
    ----------
    scheduler_name
        Pods choose it by ``spec.schedulerName``.
    percentage
        Of nodes to look at until enough are feasible; 0: adaptive.
    points
        Plugins of each extension point in the order in which they run, with their weights.
    args
        Defaulted arguments by plugin.
    """

    scheduler_name: str
    percentage: int
    points: dict[str, plugins.Enabled]
    args: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration that kubesched can follow.

    Parameters
    ----------
    document
        With every default written out.
    """

    source: str
    document: dict[str, Any]
    profiles: tuple[ProfileConfig, ...]
    decides: ProfileMap
    """What the engine follows, by scheduler name."""


def read(path: Path) -> Any:
    """The one document of a file, unchecked."""
    found = [document for document in manifest.documents(path) if document is not None]
    if len(found) != 1:
        raise errors.InputError(str(path), "is not one document", len(found), f"one {schema.KIND}")
    return found[0]


def problems_of(document: Any) -> list[Problem]:
    """Everything that is wrong with a document; empty if kubesched can follow it."""
    return _resolved(document, "configuration")[1]


def load(path: Path) -> Configuration:
    """Read a file and translate it.

    Raises
    ------
    InputError
        It is not a valid configuration; UnsupportedError if only kubesched does not implement it. Names the field.
    """
    return parse(read(path), str(path))


def parse(document: Any, source: str = "configuration") -> Configuration:
    """Translate a document; errors as in `load`."""
    made, found = _resolved(document, source)
    if made is None:
        raise problems.error(source, found)
    return made


def default() -> Configuration:
    """What kube-scheduler runs with when it is given no configuration."""
    return parse({"apiVersion": schema.API_VERSION, "kind": schema.KIND}, "default")


def _resolved(document: Any, source: str) -> tuple[Configuration | None, list[Problem]]:
    """The configuration, or what is wrong with it; later steps are asked only if the earlier ones are content."""
    found = schema.check(document)
    if found:
        return None, found
    filled = defaulting.apply(document)
    found = _check_plugins(filled["profiles"]) + validation.validate(filled)
    if found:
        return None, found
    made, found = _profile_configs(filled)
    if found:
        return None, found
    decides, found = _translated(filled, made)
    if found:
        return None, found
    return Configuration(source, filled, tuple(made), ProfileMap(tuple(decides))), []


def _check_plugins(found: Sequence[dict[str, Any]]) -> list[Problem]:
    out = []
    for i, profile in enumerate(found):
        path = f"profiles[{i}]"
        out += plugins.check_names(profile["plugins"], f"{path}.plugins")
        for j, config in enumerate(profile["pluginConfig"]):
            out += plugins.check_config(config["name"], f"{path}.pluginConfig[{j}]")
    return out


def _profile_configs(filled: dict[str, Any]) -> tuple[list[ProfileConfig], list[Problem]]:
    made, found = [], []
    for i, profile in enumerate(filled["profiles"]):
        points, twice = plugins.expanded(profile["plugins"], f"profiles[{i}].plugins")
        found += [*twice, *plugins.check_points(points, profile["schedulerName"], f"profiles[{i}].plugins")]
        percentage = profile.get("percentageOfNodesToScore", filled["percentageOfNodesToScore"])
        args = {config["name"]: config["args"] for config in profile["pluginConfig"]}
        made.append(ProfileConfig(profile["schedulerName"], percentage, points, args))
    return made, found


def _translated(
    filled: dict[str, Any], made: Sequence[ProfileConfig]
) -> tuple[list[tuple[str, Profile]], list[Problem]]:
    out, found = [], []
    for i, _ in enumerate(filled.get("extenders") or ()):
        found.append(problems.unimplemented(f"extenders[{i}]", "asking an extender"))
    for i, config in enumerate(made):
        path = f"profiles[{i}]"
        found += translate.unsupported(config.points, config.args, path)
        if not found:
            name = config.scheduler_name
            out.append((name, translate.profile(name, config.percentage, config.points, config.args)))
    return out, found
