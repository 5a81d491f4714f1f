"""A service that passes requests on to PRIMARY and, if it is told of a TARGET, sends a copy there once the primary has answered, as one writes it with
Starlette and httpx: a background task, errors are logged. It counts what became of copies, and tells at /outcomes."""

import contextlib
import logging
import os

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

PRIMARY, TARGET = os.environ["PRIMARY"], os.environ.get("TARGET")
# What belongs to one connection, or is made anew.
LEFT_OUT = {"host", "connection", "keep-alive", "transfer-encoding", "content-length"}
outcomes = {"delivered": 0, "failed": 0}


@contextlib.asynccontextmanager
async def lifespan(app):
    # A client each, so that a target that hangs does not use up the connections of the primary.
    async with httpx.AsyncClient() as primary, httpx.AsyncClient() as target:
        app.state.primary, app.state.target = primary, target
        yield


async def copy(client, method, path, headers, body):
    try:
        answer = await client.request(method, TARGET + path, headers=headers, content=body)
        answer.raise_for_status()
        outcomes["delivered"] += 1
    except httpx.HTTPError as error:
        outcomes["failed"] += 1
        logging.warning("copy failed: %r", error)


async def forward(request):
    body = await request.body()
    headers = [(name, value) for name, value in request.headers.items() if name not in LEFT_OUT]
    path = f"{request.url.path}?{request.url.query}"
    try:
        answer = await request.app.state.primary.request(request.method, PRIMARY + path, headers=headers, content=body)
    except httpx.HTTPError as error:
        logging.warning("primary failed: %r", error)
        return Response(status_code=502)
    task = BackgroundTask(copy, request.app.state.target, request.method, path, headers, body) if TARGET else None
    return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"), background=task)


app = Starlette(
    routes=[
        Route("/outcomes", lambda request: JSONResponse(outcomes)),
        Route("/{path:path}", forward, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    ],
    lifespan=lifespan,
)
