# SPDX-License-Identifier: Apache-2.0
"""The fixture ``apiserver``."""

from kubesched.testing import apiserver

__all__ = ["apiserver"]
