# SPDX-License-Identifier: Apache-2.0
"""Who else has a say in a write, in upstream's order; a module for each part of the API."""
