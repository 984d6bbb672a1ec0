# SPDX-License-Identifier: Apache-2.0
"""The bottom of both towers: errors."""
