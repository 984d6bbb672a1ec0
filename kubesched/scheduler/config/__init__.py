# SPDX-License-Identifier: Apache-2.0
"""KubeSchedulerConfiguration v1: read, defaulted, validated and translated to profiles of the engine."""
