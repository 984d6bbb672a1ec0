# SPDX-License-Identifier: Apache-2.0
"""API machinery: quantities, checked access to objects, manifests. Objects stay plain dicts."""
