"""The server's gRPC: TensorFlow Serving's services and the Open Inference Protocol's, on one port.

Messages are read here and not by grpc: it would answer one that is none with an internal error.
"""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import grpc

from studylib.serving.own.front import Front, timing
from studylib.serving.requests import RequestError
from studylib.serving.wires import tfs_grpc, tfs_messages, v2_grpc, v2_messages
from studylib.serving.wires.v2_grpc import parsed

log = logging.getLogger(__name__)

# Source: grpc's "HTTP to gRPC Status Code Mapping", the other way round.
_CODES = {
    HTTPStatus.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    HTTPStatus.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    HTTPStatus.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
}
TIMING = "server-timing"
Handler = Callable[[bytes, grpc.aio.ServicerContext], Awaitable[bytes]]


def server_of(front: Front, version: str, is_right: Callable[[str], bool] | None) -> grpc.aio.Server:
    """The server, without a port. ``is_right``: whether the text of ``authorization`` is, None for no token; ``version``: of studylib."""
    services = {
        v2_messages.SERVICE: _open_inference(front, version),
    }
    if reason := tfs_messages.why_not():
        log.info(reason)
    else:
        services |= {tfs_messages.SERVICE: _prediction(front), tfs_messages.STATUS_SERVICE: {"GetModelStatus": _status(front)}}
    limit = front.limits.body_bytes
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", limit), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)],
        maximum_concurrent_rpcs=None,
    )
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(
                service, {name: grpc.unary_unary_rpc_method_handler(_answered(handler, is_right)) for name, handler in methods.items()}
            )
            for service, methods in services.items()
        )
    )
    return server


def _answered(handler: Handler, is_right: Callable[[str], bool] | None) -> Handler:
    """A handler whose refusals are told by grpc's codes."""

    async def answer(content: bytes, context: grpc.aio.ServicerContext) -> bytes:
        try:
            if is_right and not is_right(str(dict(context.invocation_metadata() or ()).get("authorization", ""))):
                raise RequestError("metadata authorization", "it is missing or wrong", "Bearer and the token", HTTPStatus.UNAUTHORIZED)
            return await handler(content, context)
        except RequestError as error:
            words = str(error).encode("ascii", "backslashreplace").decode()
            return await context.abort(_CODES.get(error.status, grpc.StatusCode.INVALID_ARGUMENT), words)

    return answer


def _open_inference(front: Front, version: str) -> dict[str, Handler]:
    kinds = v2_messages.messages()

    async def infer(content: bytes, context) -> bytes:
        message = parsed(kinds.ModelInferRequest, content)
        spec = message.model_name, message.model_version
        _, answer = await front.answer("v2_grpc", lambda signature: v2_grpc.decode_request(message), *spec)
        context.set_trailing_metadata(((TIMING, timing(answer)),))
        return v2_grpc.encode_answer(answer)

    async def live(content: bytes, context) -> bytes:
        parsed(kinds.ServerLiveRequest, content)
        return kinds.ServerLiveResponse(live=True).SerializeToString()

    async def ready(content: bytes, context) -> bytes:
        parsed(kinds.ServerReadyRequest, content)
        return kinds.ServerReadyResponse(ready=front.is_ready).SerializeToString()

    async def model_ready(content: bytes, context) -> bytes:
        message = parsed(kinds.ModelReadyRequest, content)
        front.require(message.name, message.version)
        return kinds.ModelReadyResponse(ready=front.is_ready).SerializeToString()

    async def server_metadata(content: bytes, context) -> bytes:
        parsed(kinds.ServerMetadataRequest, content)
        return kinds.ServerMetadataResponse(name="studylib", version=version).SerializeToString()

    async def model_metadata(content: bytes, context) -> bytes:
        message = parsed(kinds.ModelMetadataRequest, content)
        front.require(message.name, message.version)
        return v2_grpc.encode_metadata(message.name, [front.versions.current.version], "studylib", front.signature)

    return {
        "ModelInfer": infer,
        "ServerLive": live,
        "ServerReady": ready,
        "ModelReady": model_ready,
        "ServerMetadata": server_metadata,
        "ModelMetadata": model_metadata,
    }


def _prediction(front: Front) -> dict[str, Handler]:
    kinds = tfs_messages.messages()

    async def predict(content: bytes, context) -> bytes:
        message = parsed(kinds.predict.PredictRequest, content)
        version = str(message.model_spec.version.value) if message.model_spec.HasField("version") else ""
        _, answer = await front.answer("tfs_grpc", lambda signature: tfs_grpc.decode_request(message), message.model_spec.name, version)
        context.set_trailing_metadata(((TIMING, timing(answer)),))
        return tfs_grpc.encode_answer(answer)

    async def metadata(content: bytes, context) -> bytes:
        message = parsed(kinds.metadata.GetModelMetadataRequest, content)
        front.require(message.model_spec.name)
        return tfs_grpc.encode_metadata(message.model_spec.name, front.versions.current.version, front.signature)

    return {"Predict": predict, "GetModelMetadata": metadata}


def _status(front: Front) -> Handler:
    kinds = tfs_messages.messages().status

    async def status(content: bytes, context) -> bytes:
        message = parsed(kinds.GetModelStatusRequest, content)
        front.require(message.model_spec.name)
        found = kinds.GetModelStatusResponse()
        state = kinds.ModelVersionStatus.AVAILABLE
        found.model_version_status.add(version=int(front.versions.current.version), state=state)
        return found.SerializeToString()

    return status
