"""Prefect's server as a process of its own, which ends when what started it has ended, however that ended."""

from __future__ import annotations

import os
import sys
import threading
import time


def main(port: int, parent: int, whole: bool = False) -> None:
    """Serves Prefect on loopback until the process that started it is gone.

    Args:
        whole: with the UI, the scheduler and every other service; else the API, and what a single run needs of them.
    """
    os.environ["PREFECT__SERVER_FINAL"] = "1"
    if whole:
        # The page learns from these where its API is.
        os.environ |= {"PREFECT_SERVER_API_HOST": "127.0.0.1", "PREFECT_SERVER_API_PORT": str(port)}
    else:
        os.environ |= {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1"}
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
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] == ["whole"])
