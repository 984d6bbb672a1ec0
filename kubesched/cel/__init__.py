# SPDX-License-Identifier: Apache-2.0
"""CEL as Kubernetes has it: the library and what is added to it, and validation rules of custom resources."""
