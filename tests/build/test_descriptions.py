import gzip
import json

import numpy as np

from studylib.artifacts.store import Store
from studylib.build.descriptions import gzip_bytes, packed, packed_key


def test_a_file_is_packed_as_gzip_packs_it(tmp_path):
    content = np.random.default_rng(0).integers(0, 9, 3_000_000, np.uint8).tobytes()
    (tmp_path / "model.onnx").write_bytes(content)
    assert abs(gzip_bytes(tmp_path / "model.onnx") - len(gzip.compress(content, 6, mtime=0))) < 40


def test_zeros_and_repeated_values_show_only_when_packed(tmp_path):
    weights = np.random.default_rng(0).normal(size=50_000).astype(np.float32)
    clustered = np.round(weights * 2) / 2
    for name, values in (("dense", weights), ("pruned", np.where(np.abs(weights) < 1.28, 0, weights)), ("clustered", clustered)):
        (tmp_path / name).write_bytes(values.astype(np.float32).tobytes())
    sizes = {name: gzip_bytes(tmp_path / name) for name in ("dense", "pruned", "clustered")}
    assert sizes["dense"] > 0.9 * 200_000
    assert sizes["pruned"] < 0.4 * sizes["dense"]
    assert sizes["clustered"] < 0.25 * sizes["dense"]


def test_a_folder_is_the_sum_of_its_files_and_kept_by_its_artifact(tmp_path):
    def write(folder):
        (folder / "model" / "deep").mkdir(parents=True)
        (folder / "model" / "a").write_bytes(b"a" * 1000)
        (folder / "model" / "deep" / "b").write_bytes(b"b" * 1000)
        return folder / "model"

    store = Store(tmp_path / "store")
    artifact = store.make("ab" * 32, {"format": "saved_model", "precision": "fp32", "model": "m", "lineage": ()}, write)
    found = packed(artifact, store)
    assert found.key == packed_key(artifact.key)
    assert json.loads(found.path.read_text()) == {"gzip_bytes": gzip_bytes(artifact.path)}
    assert gzip_bytes(artifact.path) == sum(gzip_bytes(path) for path in (artifact.path / "a", artifact.path / "deep" / "b"))
