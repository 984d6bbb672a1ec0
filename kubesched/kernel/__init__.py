# SPDX-License-Identifier: Apache-2.0
"""The C engine and the gate to it: the only package that knows cffi."""
