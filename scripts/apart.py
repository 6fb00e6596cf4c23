"""Run a command in namespaces of its own, as the programs of the workflow do their work.

python scripts/apart.py COMMAND [ARGUMENT…]
"""

from __future__ import annotations

import sys

from hvcost.errors import HvcostError, told
from hvcost.machines import user_namespace

if __name__ == "__main__":
    try:
        sys.exit(user_namespace.run(sys.argv[1:]))
    except HvcostError as error:
        sys.exit(told(error))
