# SPDX-License-Identifier: Apache-2.0
"""Ids of the strings that placement can tell apart, and of the sets of labels, taints and images that nodes have.

The engine knows numbers only. It is told of a resource, a set or a port when its id is first asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kubesched.base import errors
from kubesched.kernel import arrays, native
from kubesched.kernel.arrays import I32, NO_NODE
from kubesched.state import rows
from kubesched.state.intern import Interner, parse_int64


class Names:
    """Names of one engine."""

    def __init__(self, engine: native.Engine) -> None:
        self._engine = engine
        self.resources: Interner[str] = Interner(rows.CORE_RESOURCES)
        self.models: Interner[str] = Interner()
        self.keys: Interner[str] = Interner()
        self.values: Interner[str] = Interner()
        self.node_names: Interner[str] = Interner()
        self.label_sets: Interner[tuple[tuple[str, str], ...]] = Interner([()])
        """Hostnames left out."""
        self.taint_sets: Interner[tuple[rows.Taint, ...]] = Interner([()])
        self.image_sets: Interner[tuple[rows.Image, ...]] = Interner([()])
        self._ips: Interner[str] = Interner([rows.WILDCARD_IP])
        self._protocols: Interner[str] = Interner()
        self._ports: Interner[rows.HostPort] = Interner()
        self._images: Interner[str] = Interner()

    def resource_id(self, name: str) -> int:
        """Slot of a resource; the engine grows when it is new."""
        found = self.resources.find(name)
        if found is None:
            self._engine.grow_resources(len(self.resources) + 1)
            found = self.resources.id(name)
        return found

    def model_mask(self, models: Sequence[str]) -> int:
        """Bit mask of device models; 0 means any."""
        mask = 0
        for model in models:
            mask |= 1 << self.model_id(model)
        return mask

    def model_id(self, model: str) -> int:
        """Id of a device model.

        Raises
        ------
        UnsupportedError
            There are too many.
        """
        number = self.models.id(model)
        if number >= native.MAX_MODELS:
            raise errors.UnsupportedError("device model", "too many distinct models", model, f"{native.MAX_MODELS}")
        return number

    # ---- sets of nodes ----

    def label_set(self, labels: tuple[tuple[str, str], ...]) -> tuple[int, int]:
        """Id of the label set without the hostname, and the value id of the hostname."""
        hostname = NO_NODE
        rest = []
        for key, value in labels:
            if key == rows.HOSTNAME_LABEL:
                hostname = self.values.id(value)
            else:
                rest.append((key, value))
        wanted = tuple(rest)
        found = self.label_sets.find(wanted)
        if found is None:
            pairs = sorted((self.keys.id(k), v) for k, v in wanted)
            numbers = [parse_int64(v) for _, v in pairs]
            found = self._engine.add_label_set(
                arrays.int32([k for k, _ in pairs]),
                arrays.int32([self.values.id(v) for _, v in pairs]),
                arrays.int64([n or 0 for n in numbers]),
                np.array([n is not None for n in numbers], dtype=np.uint8),
            )
            self.label_sets.id(wanted)
        return found, hostname

    def taint_set(self, taints: tuple[rows.Taint, ...]) -> int:
        """Id of a set of taints."""
        found = self.taint_sets.find(taints)
        if found is None:
            found = self._engine.add_taint_set(
                arrays.int32([self.keys.id(t.key) for t in taints]),
                arrays.int32([self.values.id(t.value) for t in taints]),
                arrays.int32([native.EFFECTS[t.effect] for t in taints]),
            )
            self.taint_sets.id(taints)
        return found

    def image_set(self, images: tuple[rows.Image, ...]) -> int:
        """Id of a set of images."""
        found = self.image_sets.find(images)
        if found is None:
            ids = arrays.int32([self._images.id(i.name) for i in images])
            found = self._engine.add_image_set(ids, arrays.int64([i.size_bytes for i in images]))
            self.image_sets.id(images)
        return found

    def image_ids(self, names: tuple[str, ...]) -> I32:
        """Ids of a class's images; the engine learns of new ones through an image set that no node has."""
        unknown = [name for name in dict.fromkeys(names) if self._images.find(name) is None]
        if unknown:
            self.image_set(tuple(rows.Image(name, 0) for name in unknown))
        return arrays.int32([self._images.id(name) for name in names])

    def port_id(self, port: rows.HostPort) -> int:
        """Id of a host port."""
        found = self._ports.find(port)
        if found is None:
            ip, protocol = self._ips.id(port.ip), self._protocols.id(port.protocol)
            found = self._engine.add_port(ip, protocol, port.port)
            self._ports.id(port)
        return found

    # ---- what classes ask for ----

    def requirement_key(self, q: rows.Requirement) -> int:
        """Id of what a requirement on nodes looks at."""
        if q.is_field:
            return native.KEY_NODE_NAME
        return native.KEY_HOSTNAME if q.key == rows.HOSTNAME_LABEL else self.keys.id(q.key)

    def requirement_values(self, q: rows.Requirement) -> list[int]:
        """Ids of a requirement's values."""
        table = self.node_names if q.is_field else self.values
        return [table.id(value) for value in q.values]

    def toleration(self, t: rows.Toleration) -> tuple[int, int]:
        """Ids of a toleration's key (-1: every key) and value."""
        return self.keys.id(t.key) if t.key else NO_NODE, self.values.id(t.value)

    def node_name_id(self, name: str | None) -> int:
        """Id of a node's name, whether it is there or not; -1 without."""
        return NO_NODE if name is None else self.node_names.id(name)
