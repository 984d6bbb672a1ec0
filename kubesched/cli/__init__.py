# SPDX-License-Identifier: Apache-2.0
"""The command line.

Exit codes: 0 ok, 1 the answer is no, 2 wrong input, 3 input/output, 4 time limit, 130 interrupted.
"""
