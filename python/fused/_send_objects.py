"""Puts files into the object store, one an order: the server starts it when history files wait
(core/functions/history_outbox.hpp).

Standard input has a line of JSON each, ``{"file": PATH, "object": "bucket/key"}``; each is answered by a line
``{"error": null}`` or ``{"error": "why"}``.
"""

from __future__ import annotations

import json
import sys

from fused._object_store import object_store, put_file

ATTEMPTS = 2  # the server tries again later


def main() -> None:
    """Serves orders until there are no more."""
    system = None
    for line in sys.stdin:
        order = json.loads(line)
        error = None
        try:
            system = system or object_store(ATTEMPTS)
            put_file(system, order["object"], order["file"], "application/json")
        except Exception as failure:  # whatever it is, the server has to know it
            error = f"{type(failure).__name__}: {failure}"[:400]
        print(json.dumps({"error": error}), flush=True)


if __name__ == "__main__":
    main()
