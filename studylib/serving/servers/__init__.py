"""Servers by name. Adding one: a file here, a line in the table; the contract tests find it."""

from studylib.serving.servers.base import Running as Running
from studylib.serving.servers.base import Server as Server
from studylib.serving.servers.base import Wishes as Wishes
from studylib.serving.servers.mlserver import MLServer
from studylib.serving.servers.own import Own
from studylib.serving.servers.tensorflow_serving import TensorFlowServing
from studylib.serving.servers.triton import Triton

# A table: what is looked up in it is named by whoever asks (`studylib.artifacts.code`).
DECIDES_NOTHING = ("SERVERS",)

SERVERS: dict[str, Server] = {server.name: server for server in (Own(), TensorFlowServing(), Triton(), MLServer())}
