# SPDX-License-Identifier: Apache-2.0
"""Who may do what: roles and bindings (RBAC), what a request asks for, the roles that every cluster has."""
