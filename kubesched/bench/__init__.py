# SPDX-License-Identifier: Apache-2.0
"""scheduler_perf in one process: scenario files, their execution, and the judge of what came out."""
