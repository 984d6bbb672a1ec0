# SPDX-License-Identifier: Apache-2.0
"""``python -m kubesched``: the command line."""

from kubesched.cli.main import main

if __name__ == "__main__":
    main()
