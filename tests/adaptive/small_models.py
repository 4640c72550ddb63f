"""Small models written node by node, and samples for them."""

from pathlib import Path

import numpy as np

SIZE, CHANNELS, CLASSES = 12, 8, 5


def samples(n: int, seed: int, labels: np.ndarray | None = None):
    from studylib.models.zoo import Samples

    values = np.random.default_rng(seed).normal(size=(n, 3, SIZE, SIZE)).astype(np.float32)
    return Samples({"image": values}, labels)


def write_onnx(path: Path, nodes: list, weights: dict[str, np.ndarray], output=("scores", CLASSES)) -> Path:
    """A checked ONNX file with the input ``image`` (N, 3, 12, 12)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])
    out = helper.make_tensor_value_info(output[0], TensorProto.FLOAT, ["n", *output[1:]])
    held = [numpy_helper.from_array(np.asarray(values), name) for name, values in weights.items()]
    graph = helper.make_graph([helper.make_node(*node[:3], name=node[3], **node[4]) for node in nodes], "small", [image], [out], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def small_onnx(path: Path, first: str = "net/first/Conv", relu: str = "net/first/Relu") -> Path:
    """Conv, Relu, Conv, Relu, pooling, Gemm; ``first`` and ``relu`` name the first two nodes."""
    rng = np.random.default_rng(5)
    weights = {
        "w1": rng.normal(size=(CHANNELS, 3, 3, 3)).astype(np.float32) / 4, "b1": np.zeros(CHANNELS, np.float32),
        "w2": rng.normal(size=(CHANNELS, CHANNELS, 3, 3)).astype(np.float32) / 8, "b2": np.zeros(CHANNELS, np.float32),
        "w3": rng.normal(size=(CHANNELS, CLASSES)).astype(np.float32), "b3": np.zeros(CLASSES, np.float32),
    }  # fmt: skip
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        ("Conv", ["image", "w1", "b1"], [f"{first}:0"], first, same), ("Relu", [f"{first}:0"], ["net/first/Relu:0"], relu, {}),
        ("Conv", ["net/first/Relu:0", "w2", "b2"], ["second"], "net/second/Conv", same),
        ("Relu", ["second"], ["r2"], "net/second/Relu", {}),
        ("GlobalAveragePool", ["r2"], ["pooled"], "net/pool", {}), ("Flatten", ["pooled"], ["flat"], "net/flat", {}),
        ("Gemm", ["flat", "w3", "b3"], ["scores"], "net/head/Gemm", {}),
    ]  # fmt: skip
    return write_onnx(path, nodes, weights)


def reference(path: Path, held_back) -> dict[str, np.ndarray]:
    """The outputs of the file itself, as a source model's are."""
    from studylib.adaptive import FORMATS
    from studylib.quality.answers import stacked

    return stacked(FORMATS[path.suffix[1:]].open(path, 1), held_back)


def write_tflite(folder: Path) -> Path:
    """Convolution, depthwise convolution, addition, pooling and a dense layer, converted from Keras."""
    import keras

    from studylib.recipes.convert.to_litert import convert

    keras.utils.set_random_seed(3)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    first = keras.layers.Conv2D(32, 3, padding="same", activation="relu", name="first")(image)
    second = keras.layers.Conv2D(32, 3, padding="same", name="second")(first)
    joined = keras.layers.Add(name="join")([first, second])
    deep = keras.layers.DepthwiseConv2D(3, padding="same", name="deep")(joined)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(deep)
    model = keras.Model(image, keras.layers.Dense(40, name="head")(pooled), name="net")
    model.export(folder / "saved_model", verbose=False)
    content, _ = convert(folder / "saved_model", folder)
    (folder / "small.tflite").write_bytes(content)
    return folder / "small.tflite"


def images(n: int, seed: int):
    """Samples of the LiteRT model, channels last."""
    from studylib.models.zoo import Samples

    values = np.random.default_rng(seed).normal(size=(n, SIZE, SIZE, 3)).astype(np.float32)
    return Samples({"image": values}, None)
