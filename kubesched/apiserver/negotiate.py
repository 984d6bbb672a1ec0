# SPDX-License-Identifier: Apache-2.0
"""Which form an answer takes: the client's Accept header against what a resource can give.

Source: apiserver/pkg/endpoints/handlers/negotiation, v1.36.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from kubesched.api import status
from kubesched.api.codec import JSON, PROTOBUF, YAML

BUILT_IN = (JSON, YAML, PROTOBUF)
CUSTOM = (JSON, YAML)  # custom resources have no wire numbers
NOT_STREAMED = YAML  # no framing is defined for it

_CONVERSIONS = frozenset({"Table", "PartialObjectMetadata", "PartialObjectMetadataList"})
_META_VERSIONS = frozenset({"v1", "v1beta1"})


class Clause(NamedTuple):
    """One alternative of an Accept header."""

    media_type: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Format:
    """A media type, and what the answer is turned into first (``Table``, ``PartialObjectMetadata``..., or nothing)."""

    media_type: str = JSON
    convert: str = ""
    version: str = "v1"  # of meta.k8s.io, when converted

    @property
    def stream_type(self) -> str:
        """The media type of a watch."""
        return self.media_type if self.media_type == JSON else f"{self.media_type};stream=watch"


PLAIN = Format()


@functools.lru_cache(maxsize=512)
def choose(accept: str, offered: tuple[str, ...] = BUILT_IN, converts: bool = True) -> Format:
    """The first form that the client wants and the resource has.

    Parameters
    ----------
    accept
        The header; empty takes the first offered.
    offered
        Media types of the resource.
    converts
        Whether it can be turned into a Table and into metadata alone (reviews cannot).

    Raises
    ------
    StatusError
        406 with what there is.
    """
    if not accept.strip():
        return PLAIN if offered[0] == JSON else Format(offered[0])
    for clause in clauses(accept):
        for media_type in offered:
            if covers(clause.media_type, media_type):
                found = _accept(clause.parameters, media_type, converts)
                if found is not None:
                    return found
    raise status.not_acceptable(offered)


def covers(wanted: str, offered: str) -> bool:
    """Whether a media type, perhaps with a star, stands for one that is offered."""
    return wanted in (offered, "*/*") or (wanted.endswith("/*") and offered.startswith(wanted[:-1]))


def _accept(parameters: Mapping[str, str], media_type: str, converts: bool) -> Format | None:
    if parameters.get("stream", "watch") != "watch" or parameters.get("sv"):
        return None
    kind = parameters.get("as", "")
    if not (kind or "g" in parameters or "v" in parameters):
        return PLAIN if media_type == JSON else Format(media_type)
    version = parameters.get("v", "")
    known = kind in _CONVERSIONS and parameters.get("g") == "meta.k8s.io" and version in _META_VERSIONS
    return Format(media_type, kind, version) if known and converts else None


def clauses(header: str) -> list[Clause]:
    """Clauses by falling quality, as written among equals."""
    found: list[tuple[float, int, Clause]] = []
    for i, part in enumerate(header.split(",")):
        pieces = [piece.strip() for piece in part.split(";")]
        parameters = dict(piece.partition("=")[::2] for piece in pieces[1:])
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 1.0
        media_type = "*/*" if pieces[0] == "*" else pieces[0]
        if media_type:
            found.append((-quality, i, Clause(media_type, parameters)))
    return [clause for _, _, clause in sorted(found, key=lambda item: item[:2])]


@functools.lru_cache(maxsize=512)
def body_type(content_type: str, accepted: tuple[str, ...] = BUILT_IN) -> str:
    """The media type of a body without its parameters; JSON where the client says nothing.

    Raises
    ------
    StatusError
        415 with what is read.
    """
    plain = content_type.partition(";")[0].strip().lower()
    if not plain:
        return accepted[0]
    if plain not in accepted:
        raise status.unsupported_media_type(accepted)
    return plain
