"""The server's REST: TensorFlow Serving's paths, the Open Inference Protocol's, and ``/predict`` for people."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response

from studylib.models.own.card import Card
from studylib.serving.own import described, pictures
from studylib.serving.own.front import Front, timing
from studylib.serving.own.metrics import CONTENT_TYPE
from studylib.serving.requests import Answer, Request, RequestError
from studylib.serving.wires import tfs_rest, v2_rest

log = logging.getLogger(__name__)

_JSON = "application/json"
_OPEN = ("/v2/health/live", "/v2/health/ready")


def app_of(front: Front, card: Card, version: str) -> FastAPI:
    """The application. ``card``: how pictures are prepared; ``version``: of studylib."""
    app = FastAPI(title=f"studylib: {front.model}", version=version, docs_url=None, redoc_url=None)
    _health(app, front, version)
    _tensorflow_serving(app, front)
    _open_inference(app, front)
    _predict(app, front, card)
    described.describe(app, front, pictures.TYPES)

    @app.get("/metrics", responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        return Response(front.metrics.text(), media_type=CONTENT_TYPE)

    @app.exception_handler(RequestError)
    async def refused(request: HttpRequest, error: RequestError) -> Response:
        more = {"retry-after": "1"} if error.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE) else {}
        return JSONResponse({"error": str(error), "field": error.part}, int(error.status), more)

    @app.exception_handler(HTTPStatus.NOT_FOUND)
    @app.exception_handler(HTTPStatus.METHOD_NOT_ALLOWED)
    async def elsewhere(request: HttpRequest, error) -> Response:
        words = f"path: nothing answers {request.method} there; expected one of those in /openapi.json"
        return JSONResponse({"error": words, "field": "path"}, error.status_code, error.headers)

    return app


def _health(app: FastAPI, front: Front, version: str) -> None:
    @app.get("/v2/health/live")
    async def live() -> dict:
        return {"live": True}

    @app.get("/v2/health/ready", responses=described.NOT_READY)
    async def ready() -> Response:
        return _ready(front)

    @app.get("/v2")
    async def server() -> dict:
        return {"name": "studylib", "version": version, "extensions": ["binary_tensor_data"]}


def _ready(front: Front) -> Response:
    return JSONResponse({"ready": front.is_ready}, HTTPStatus.OK if front.is_ready else HTTPStatus.SERVICE_UNAVAILABLE)


def _tensorflow_serving(app: FastAPI, front: Front) -> None:
    async def predict(http: HttpRequest, model: str, version: str = "") -> Response:
        body = await _body(http, front)
        request, answer = await front.answer("tfs_rest", lambda signature: tfs_rest.decode_request(body, signature), model, version)
        return _sent(tfs_rest.encode_answer(answer, request), answer)

    app.post("/v1/models/{model}:predict", responses=described.ANSWERS)(predict)
    app.post("/v1/models/{model}/versions/{version}:predict", responses=described.ANSWERS)(predict)

    @app.get("/v1/models/{model}", responses=described.NOT_FOUND)
    async def status(model: str) -> dict:
        front.require(model)
        told = {"error_code": "OK", "error_message": ""}
        return {"model_version_status": [{"version": front.versions.current.version, "state": "AVAILABLE", "status": told}]}

    @app.get("/v1/models/{model}/metadata", responses=described.NOT_FOUND)
    async def metadata(model: str) -> dict:
        front.require(model)
        return tfs_rest.encode_metadata(model, front.versions.current.version, front.signature)


def _open_inference(app: FastAPI, front: Front) -> None:
    async def infer(http: HttpRequest, model: str, version: str = "") -> Response:
        body, headers = await _body(http, front), dict(http.headers)
        request, answer = await front.answer("v2_rest", lambda signature: v2_rest.decode_request(body, headers), model, version)
        content, more = v2_rest.encode_answer(answer, request)
        return _sent(content, answer, more)

    app.post("/v2/models/{model}/infer", responses=described.ANSWERS)(infer)
    app.post("/v2/models/{model}/versions/{version}/infer", responses=described.ANSWERS)(infer)

    async def ready(model: str, version: str = "") -> Response:
        front.require(model, version)
        return _ready(front)

    app.get("/v2/models/{model}/ready", responses=described.NOT_FOUND | described.NOT_READY)(ready)
    app.get("/v2/models/{model}/versions/{version}/ready", responses=described.NOT_FOUND | described.NOT_READY)(ready)

    async def metadata(model: str, version: str = "") -> dict:
        front.require(model, version)
        return v2_rest.encode_metadata(model, [front.versions.current.version], "studylib", front.signature)

    app.get("/v2/models/{model}", responses=described.NOT_FOUND)(metadata)
    app.get("/v2/models/{model}/versions/{version}", responses=described.NOT_FOUND)(metadata)


def _predict(app: FastAPI, front: Front, card: Card) -> None:
    @app.post("/predict", responses=described.ANSWERS)
    async def predict(http: HttpRequest) -> Response:
        body, kind = await _body(http, front), http.headers.get("content-type", _JSON).partition(";")[0].strip().lower()

        def read(signature) -> Request:
            if kind in pictures.TYPES:
                return pictures.decode_request(body, signature, card)
            if kind != _JSON:
                allowed = ", ".join((_JSON, *pictures.TYPES))
                raise RequestError("content-type", f"it is '{kind[:60]}'", allowed, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
            return tfs_rest.decode_request(body, signature)

        request, answer = await front.answer("predict", read, front.model)
        return _sent(tfs_rest.encode_answer(answer, request), answer)


async def _body(http: HttpRequest, front: Front) -> bytes:
    """The whole body. Raises `RequestError` once it is longer than allowed, without reading the rest, and where it does not come."""
    most = front.limits.body_bytes
    told = http.headers.get("content-length", "0")
    chunks, size = [], int(told) if told.isascii() and told.isdigit() and len(told) < 19 else 0
    try:
        async with asyncio.timeout(front.limits.answer_s):
            if size <= most:
                size = 0
                async for chunk in http.stream():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > most:
                        break
    except TimeoutError:
        words = f"it did not come within {front.limits.answer_s:g} s"
        raise RequestError("body", words, "all of it by then", HTTPStatus.REQUEST_TIMEOUT) from None
    if size > most:
        raise RequestError("body", f"it has more than {most} bytes", f"at most {most}", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _sent(content: bytes, answer: Answer, more: dict[str, str] | None = None) -> Response:
    headers = {"server-timing": timing(answer), "content-type": _JSON} | (more or {})
    return Response(content, headers=headers)


Application = Callable[[dict, Callable, Callable], Awaitable[None]]


class Guarded:
    """The application behind a bearer token, its health aside, which probes ask.

    ``is_right``: whether the text of an ``Authorization`` header is.
    """

    def __init__(self, app: Application, is_right: Callable[[str], bool]):
        self._app, self._is_right = app, is_right

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        told = dict(scope.get("headers", ())).get(b"authorization", b"").decode("latin-1")
        if scope["type"] == "http" and scope["path"] not in _OPEN and not self._is_right(told):
            words = {
                "error": "header authorization: it is missing or wrong; expected Bearer and the token",
                "field": "header authorization",
            }
            refusal = JSONResponse(words, HTTPStatus.UNAUTHORIZED, {"www-authenticate": "Bearer"})
            return await refusal(scope, receive, send)
        return await self._app(scope, receive, send)
