"""The peer: what a user would assemble. FastAPI, uvicorn and a ProcessPoolExecutor of two; the same three functions."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import sys
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response

sys.path.insert(0, str(Path(__file__).parent))  # the pool's processes import this file by name
import handlers

pool: concurrent.futures.ProcessPoolExecutor | None = None


@asynccontextmanager
async def lifespan(app: FastAPI):
    global pool
    handlers.warm()
    pool = concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("fork"), initializer=handlers.warm)
    list(pool.map(handlers.answer, ["tiny"] * 8))
    yield
    pool.shutdown()


app = FastAPI(lifespan=lifespan)


@app.get("/run/{name}")
async def run(name: str) -> Response:
    body, content_type = await asyncio.get_running_loop().run_in_executor(pool, handlers.answer, name)
    return Response(body, media_type=content_type)


@app.post("/code")
async def code(request: Request) -> Response:
    text = (await request.body()).decode()
    body = await asyncio.get_running_loop().run_in_executor(pool, handlers.answer_code, text)
    return Response(body, media_type="application/json")
