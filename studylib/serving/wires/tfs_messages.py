"""TensorFlow Serving's messages, from its own package, without TensorFlow itself.

The package ``tensorflow-serving-api`` needs of TensorFlow only the descriptions of messages. Importing all of it takes seconds and
hundreds of megabytes, which a server of another runtime would be charged with.
"""

import contextlib
import functools
import importlib.util
import sys
from types import ModuleType, SimpleNamespace

SERVICE = "tensorflow.serving.PredictionService"
STATUS_SERVICE = "tensorflow.serving.ModelService"


def why_not() -> str | None:
    """Why there are no such messages here, or None."""
    missing = next((name for name in ("tensorflow_serving", "tensorflow") if not _is_here(name)), None)
    return f"TensorFlow Serving's gRPC is not spoken: its messages need the package {missing}" if missing else None


def _is_here(package: str) -> bool:
    with contextlib.suppress(ModuleNotFoundError):
        return importlib.util.find_spec(package) is not None
    return False


@functools.cache
def messages() -> SimpleNamespace:
    """The modules ``predict``, ``status`` and ``metadata`` of messages. Raises `ModuleNotFoundError` without the package."""
    if "tensorflow" in sys.modules:
        return _imported()
    # In the place of TensorFlow stands, while these are imported, a package that is only its folder.
    folder = ModuleType("tensorflow")
    folder.__path__ = list(importlib.util.find_spec("tensorflow").submodule_search_locations)
    sys.modules["tensorflow"] = folder
    try:
        return _imported()
    finally:
        # Who imports TensorFlow later finds all of it.
        for name in [name for name in sys.modules if name.partition(".")[0] == "tensorflow"]:
            del sys.modules[name]


def _imported() -> SimpleNamespace:
    from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

    return SimpleNamespace(predict=predict_pb2, status=get_model_status_pb2, metadata=get_model_metadata_pb2)
