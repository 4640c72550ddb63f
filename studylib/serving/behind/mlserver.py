"""MLServer with a runtime of ours. Source: SeldonIO/MLServer, "Serving a custom model"."""

import json
import os
import sys
from pathlib import Path

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from studylib.runtimes.signature import TensorSpec
from studylib.serving.behind.opened import Told, axes
from studylib.serving.wires.datatypes import v2

_MOST_BYTES = 1 << 30


class Model(MLModel):
    """What MLServer asks."""

    async def load(self) -> bool:
        """Open the file."""
        self._session = Told(**self.settings.parameters.extra["told"]).session()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One answer, of one request or of several that MLServer put together."""
        answered = self._session.run({one.name: NumpyCodec.decode_input(one) for one in payload.inputs})
        outputs = [NumpyCodec.encode_output(name, values) for name, values in answered.items()]
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=outputs)


def main() -> None:
    """Write the files that MLServer reads, and become MLServer."""
    told = Told.from_command_line()
    signature = told.session().signature()

    def tensors(specs: tuple[TensorSpec, ...]) -> list[dict]:
        return [{"name": one.name, "datatype": v2(one.dtype), "shape": axes(one)} for one in specs]

    batches = told.batch > 1 and signature.takes_batches
    model = {
        "name": told.model,
        "implementation": f"{__spec__.name}.Model",
        "inputs": tensors(signature.inputs),
        "outputs": tensors(signature.outputs),
        "parameters": {"extra": {"told": json.loads(told.words)}},
        **({"max_batch_size": told.batch, "max_batch_time": told.wait_ms / 1000} if batches else {}),
    }
    server = {
        "host": "127.0.0.1",
        "http_port": told.rest,
        "grpc_port": told.grpc,
        "grpc_max_message_length": _MOST_BYTES,
        "metrics_endpoint": None,
        "debug": False,
        # One session answers in the server's own process, several each in one of their own.
        "parallel_workers": told.sessions if told.sessions > 1 else 0,
    }
    folder = Path(told.folder)
    (folder / "settings.json").write_text(json.dumps(server), encoding="utf-8")
    (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    os.chdir(folder)
    program = Path(sys.executable).with_name("mlserver")
    os.execv(program, [str(program), "start", "."])


if __name__ == "__main__":
    main()
