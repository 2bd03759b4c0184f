"""Prefect's API as a process of its own, which ends when the audit that started it has ended, however that ended."""

from __future__ import annotations

import os
import sys
import threading
import time


def main(port: int, parent: int) -> None:
    """Serves Prefect's API on loopback until the process that started it is gone."""
    os.environ |= {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    import uvicorn

    app = "prefect.server.api.server:create_app"
    uvicorn.run(app, factory=True, host="127.0.0.1", port=port, log_level="error", lifespan="on")


def _end_with_parent(parent: int) -> None:
    """A parent that was killed cannot stop its server."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
