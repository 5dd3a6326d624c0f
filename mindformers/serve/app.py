"""The HTTP application: routes, keys, and the way from a request to its answer."""

from __future__ import annotations

import hmac
import json
import time
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, AsyncIterator, List, Optional, Type, Union

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from mindformers.errors import UsageError
from mindformers.serve.exchange import Exchange, Step, unless_left
from mindformers.serve.intake import Intake
from mindformers.serve.refusals import RefusedError, refusal_of
from mindformers.serve.replies import ChatReply, CompletionReply, Reply
from mindformers.serve.requests import ChatRequest, CompletionRequest, WritingRequest
from mindformers.serve.worker import Worker

PAGE_POLICY = (
    "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CLIENT_LEFT = 499


def make_app(intake: Intake, worker: Worker, api_key: Optional[str]) -> FastAPI:
    """Return the application; it starts the worker and stops it. Without `api_key` everybody is served."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        worker.start()
        yield
        worker.stop()

    app = FastAPI(title="mindformers", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(_routes(intake, worker), dependencies=[Depends(_key_check(api_key))])
    app.add_exception_handler(RefusedError, lambda _, error: _refused(error))
    app.add_exception_handler(UsageError, lambda _, error: _refused(RefusedError(400, str(error), "invalid_value")))
    app.add_exception_handler(RequestValidationError, lambda _, error: _refused(refusal_of(error.errors())))
    app.add_exception_handler(HTTPException, lambda _, error: _refused(RefusedError(error.status_code, error.detail)))
    app.add_exception_handler(Exception, lambda *_: _refused(RefusedError(500, "the server failed; see its log")))
    page = files("mindformers.serve").joinpath("page.html").read_text(encoding="utf-8")

    @app.get("/")
    async def chat_page() -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"})

    @app.get("/health")
    async def health() -> Any:
        return {"status": "ok", **worker.counts()}

    return app


def _refused(error: RefusedError) -> Response:
    headers = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "1"}}.get(error.status)
    return JSONResponse(error.body(), error.status, headers=headers)


def _key_check(api_key: Optional[str]) -> Any:
    expected = None if api_key is None else f"Bearer {api_key}".encode()

    async def check(request: Request) -> None:
        given = request.headers.get("Authorization", "").encode("latin-1")
        if expected is not None and not hmac.compare_digest(given, expected):
            message = "the API key is missing or wrong; send 'Authorization: Bearer KEY'"
            raise RefusedError(401, message, "invalid_api_key")

    return check


def _routes(intake: Intake, worker: Worker) -> APIRouter:
    router = APIRouter(prefix="/v1")
    described = {"id": intake.name, "object": "model", "created": int(time.time()), "owned_by": "mindformers"}

    @router.get("/models")
    async def models() -> Any:
        return {"object": "list", "data": [described]}

    @router.get("/models/{name:path}")
    async def model(name: str) -> Any:
        intake.check_name(name)
        return described

    @router.post("/completions")
    async def completions(body: CompletionRequest, request: Request) -> Response:
        return await _answer(CompletionReply, body, request)

    @router.post("/chat/completions")
    async def chat_completions(body: ChatRequest, request: Request) -> Response:
        return await _answer(ChatReply, body, request)

    async def _answer(form: Type[Reply], body: Union[CompletionRequest, ChatRequest], request: Request) -> Response:
        rows = intake.rows(body)
        exchange = Exchange(worker, rows, sum(len(row.prompt) for row in rows[:: body.sequences]))
        reply = form(intake.name)
        return await (_streamed if body.stream else _whole)(exchange, reply, body, request)

    return router


async def _whole(exchange: Exchange, reply: Reply, body: WritingRequest, request: Request) -> Response:
    try:
        texts: Optional[List[Step]] = await unless_left(request.receive, exchange.texts())
    finally:
        exchange.abandon()
    if texts is None:
        return Response(status_code=CLIENT_LEFT)
    return JSONResponse(reply.whole([reply.choice(*text) for text in texts], exchange.usage()))


async def _streamed(exchange: Exchange, reply: Reply, body: WritingRequest, request: Request) -> Response:
    steps = exchange.steps()
    try:  # what goes wrong before the first piece still gets its HTTP status
        first = await unless_left(request.receive, anext_of(steps))
    except BaseException:
        exchange.abandon()
        raise
    if first is None:
        exchange.abandon()
        return Response(status_code=CLIENT_LEFT)
    events = _events(first, steps, exchange, reply, body)
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def anext_of(steps: AsyncIterator[Step]) -> Step:
    """Return the next step (the built-in `anext` needs Python 3.10)."""
    return await steps.__anext__()


async def _events(
    first: Step, steps: AsyncIterator[Step], exchange: Exchange, reply: Reply, body: WritingRequest
) -> AsyncIterator[str]:
    """Yield server-sent events: the pieces as they come, the usage when it is wanted, and the end mark."""
    try:
        for index in range(len(exchange.jobs)):
            opening = reply.opening(index)
            if opening is not None:
                yield _event(reply.piece(opening))
        yield _event(reply.piece(reply.part(*first)))
        async for step in steps:
            yield _event(reply.piece(reply.part(*step)))
        if body.wants_usage:
            yield _event(reply.last(exchange.usage()))
    except RefusedError as error:
        yield _event(error.body())
    finally:
        exchange.abandon()
    yield "data: [DONE]\n\n"


def _event(content: Any) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
