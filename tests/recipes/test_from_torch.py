"""Exported PyTorch programs become ONNX files; what else such a file may hold is found before torch loads it."""

import importlib.util
import json
import zipfile

import numpy as np
import pytest

from studylib.errors import RefusedError
from studylib.formats.torch_files import why_unsafe
from studylib.recipes import why_no_chain
from studylib.recipes.convert.from_torch import TorchToOnnx
from studylib.recipes.convert.from_torch_to_litert import TorchToLiteRT


@pytest.mark.parametrize(("recipe", "packages"), [(TorchToOnnx(), ("torch", "onnxscript")), (TorchToLiteRT(), ("torch", "litert_torch"))])
def test_what_is_missing_is_said_with_the_command_that_brings_it(recipe, packages):
    absent = [package.replace("_", "-") for package in packages if importlib.util.find_spec(package) is None]
    words = f"no path out of PyTorch yet: the package {absent[0]} is not installed; `make converters` brings it" if absent else None
    assert recipe.missing() == words
    assert why_no_chain("fp32", recipe.target, "torch") == words


@pytest.fixture
def exported(tmp_path):
    """(file, model) of a program with two named inputs, two outputs and a dynamic batch."""
    torch = pytest.importorskip("torch", reason="the extra 'torch' is not installed")
    pytest.importorskip("onnxscript", reason="the extra 'torch' is not installed")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 3)

        def forward(self, image, scale):
            hidden = torch.nn.functional.gelu(self.layer(image))
            return hidden * scale, hidden.flatten(1).softmax(-1)

    torch.manual_seed(0)
    model, batch = Model().eval(), torch.export.Dim("batch", min=1, max=64)
    axes = {"image": {0: batch}, "scale": {0: batch}}
    program = torch.export.export(model, (torch.randn(2, 5, 4), torch.randn(2, 1, 3)), dynamic_shapes=axes)
    torch.export.save(program, tmp_path / "model.pt2")
    return tmp_path / "model.pt2", model


def rewritten(path, part, content):
    """A copy of the archive in which the file whose name ends with ``part`` holds ``content(before)``."""
    copy = path.with_name("planted.pt2")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            new.writestr(name, content(old.read(name)) if name.endswith(part) else old.read(name))
    return copy


def test_a_program_becomes_litert_under_the_same_names(exported, tmp_path):
    pytest.importorskip("litert_torch", reason="litert-torch is not installed; `make converters` brings it")
    from studylib.runtimes import RUNTIMES, Options

    path, model = exported
    written, notes = TorchToLiteRT().write(path, tmp_path, None)
    session = RUNTIMES["litert"].open(written, Options(threads=1))
    rng = np.random.default_rng(0)
    for batch in (1,) if "batch" in notes else (1, 4):
        image, scale = rng.normal(size=(batch, 5, 4)).astype(np.float32), rng.normal(size=(batch, 1, 3)).astype(np.float32)
        outputs = session.run({"image": image, "scale": scale})
        wanted = _answers(model, image, scale)
        assert list(outputs) == ["output_0", "output_1"]
        assert all(np.allclose(made, answer, atol=1e-5) for made, answer in zip(outputs.values(), wanted, strict=True))


def _answers(model, *inputs):
    import torch

    with torch.no_grad():
        return [values.numpy() for values in model(*map(torch.from_numpy, inputs))]


def test_names_answers_and_the_dynamic_batch_are_kept(exported, tmp_path):
    import onnxruntime
    import torch

    path, model = exported
    session = onnxruntime.InferenceSession(TorchToOnnx().write(path, tmp_path, None), providers=["CPUExecutionProvider"])
    assert [(value.name, value.shape) for value in session.get_inputs()] == [("image", ["batch", 5, 4]), ("scale", ["batch", 1, 3])]
    assert [value.name for value in session.get_outputs()] == ["output_0", "output_1"]
    rng = np.random.default_rng(0)
    for size in (1, 7):
        inputs = {"image": rng.random((size, 5, 4), np.float32), "scale": rng.random((size, 1, 3), np.float32)}
        for answered, wanted in zip(session.run(None, inputs), model(*map(torch.from_numpy, inputs.values())), strict=True):
            np.testing.assert_allclose(answered, wanted.detach().numpy(), atol=1e-5)


def test_pickled_code_runs_only_for_who_trusts_it(exported, tmp_path):
    import io
    from pathlib import Path

    import torch

    marker = tmp_path / "the-planted-code-ran"

    class Evil:
        def __reduce__(self):
            return Path.touch, (marker,)

    content = io.BytesIO()
    torch.save(({"image": Evil()}, {}), content)
    planted = rewritten(exported[0], "sample_inputs/model.pt", lambda before: content.getvalue())
    with pytest.raises(RefusedError, match=r"holds pickled objects as its sample inputs, which can run code.*set TRUST=1"):
        TorchToOnnx().write(planted, tmp_path, None)
    assert not marker.exists()
    # Afterwards torch may refuse what the planted code left behind; that it ran is the point.
    with pytest.raises(RefusedError, match=r"cannot turn planted\.pt2 into ONNX"):
        TorchToOnnx(trust=True).write(planted, tmp_path, None)
    assert marker.exists()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("torch.ops.aten.gelu.default", "torch.os.system", "the file calls 'torch.os.system', which can run code"),
        ("torch.ops.aten.gelu.default", "torch.hub.load", "the file calls 'torch.hub.load'"),
    ],
)
def test_a_call_that_is_no_operator_is_named(exported, before, after, words):
    planted = rewritten(exported[0], "models/model.json", lambda text: text.replace(before.encode(), after.encode()))
    assert words in why_unsafe(planted)


def test_an_expression_that_is_no_size_is_named(exported):
    def plant(text):
        program = json.loads(text)
        program["planted"] = {"expr_str": "__import__('os').system('true')"}
        return json.dumps(program)

    assert "computes a size by '__import__" in why_unsafe(rewritten(exported[0], "models/model.json", plant))
    assert why_unsafe(exported[0]) is None


def test_a_file_that_is_no_program_is_refused(tmp_path):
    (tmp_path / "broken.pt2").write_bytes(b"no archive")
    assert why_unsafe(tmp_path / "broken.pt2").startswith("broken.pt2 is damaged or no exported program: ")
    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as archive:
        archive.writestr("version", "8.0")
    assert why_unsafe(tmp_path / "old.pt2").startswith("old.pt2 is no exported program of torch 2.8 or newer; load it where")
