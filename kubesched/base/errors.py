# SPDX-License-Identifier: Apache-2.0
"""The whole exception tree.

::

    KubeschedError
    ├── InputError          what the caller gave is wrong: a file, a field, a column, an option   (exit 2)
    │   └── UnsupportedError    understood, but not implemented: names the feature                (exit 2)
    ├── PluginError         a user's plugin is wrong or failed: names it                          (exit 2)
    ├── KernelError         the C engine refused a call; carries its status code                  (exit 2)
    ├── StateError          the call does not fit the current state (release of an unknown pod)   (exit 2)
    └── StorageError        reading or writing failed: disk, permissions                          (exit 3)

Exceptions carry fields; ``str()`` builds the line ``<where>: <what is wrong>, got <value>, expected <what>``.
Expected outcomes (a pod does not fit, a recorded case differs) are values, not exceptions.
"""

from __future__ import annotations


class KubeschedError(Exception):
    """Root of everything that kubesched raises on purpose.

    Parameters
    ----------
    where
        The file, object, field or function at fault.
    what
        What is wrong, lower case, no full stop.
    got
        The offending value; shortened to 120 characters in the text. Left out when None.
    expected
        What would have been right. Left out when None.
    """

    exit_code = 2

    def __init__(self, where: str, what: str, got: object = None, expected: str | None = None) -> None:
        super().__init__(where, what, got, expected)
        self.where = where
        self.what = what
        self.got = got
        self.expected = expected

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.what}"]
        if self.got is not None:
            text = repr(self.got)
            parts.append(f"got {text if len(text) <= 120 else text[:117] + '...'}")
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        return ", ".join(parts)


class InputError(KubeschedError):
    """What the caller gave is wrong."""


class UnsupportedError(InputError):
    """The input is valid, but uses a feature that kubesched does not implement; ``what`` names it."""


class PluginError(KubeschedError):
    """A user's plugin cannot be used, raised, or gave an answer that is not allowed; ``where`` names it."""


class KernelError(KubeschedError):
    """The C engine refused a call.

    Parameters
    ----------
    status
        The ``ks_status`` code.
    """

    def __init__(self, where: str, what: str, status: int, got: object = None) -> None:
        super().__init__(where, what, got)
        self.status = status


class StateError(KubeschedError):
    """The call does not fit the current state."""


class StorageError(KubeschedError):
    """Reading or writing failed."""

    exit_code = 3
