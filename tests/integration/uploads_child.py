"""The doors for uploads as a process of its own, to be killed: `uploads_child.py FOLDER PORT`."""

import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from domain.clock import SystemClock
from streams.uploads.limits import Limits
from streams.uploads.routes import uploads_router
from streams.uploads.shelf import Shelf
from tests.streams.memory_ingest import MemoryIngest

if __name__ == "__main__":
    ingest = MemoryIngest()
    ingest.register("rec-1")
    shelf = Shelf(Path(sys.argv[1]))
    shelf.open()
    limits = Limits(file_bytes=10**9, recorder_bytes=10**10, recorder_files=100, free_bytes=0, expires_s=3600)
    router = uploads_router(ingest, SystemClock(), shelf, limits)
    uvicorn.run(Starlette(routes=router.routes), host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
