import json
import subprocess
import sys

import pytest

from tests import ROOT

# Photograph: classes that a person would call right.
RIGHT = {
    "coffee.png": {967},  # espresso
    "chelsea.png": {281, 282, 285},  # tabby, tiger cat, Egyptian cat
    "grace_hopper.jpg": {652},  # military uniform
    "camera.png": {872},  # tripod
    "china.jpg": {698},  # palace
    "rocket.jpg": {657, 744},  # missile, projectile
    "motorcycle_left.png": {665, 670},  # moped, motor scooter
    "motorcycle_right.png": {665, 670},
}
CODE = """
import json, sys
from studylib.models.zoo import MODELS
model = MODELS["efficientnet_lite0"]
network = model.build(seed=0)
names = model.class_names()
best = {}
for name in sys.argv[1:]:
    outputs = network.predict(model.photograph(name), verbose=0)[0]
    best[name] = int(outputs.argmax())
seen = {"parameters": network.count_params(), "names": len(names), "espresso": names[967], "torch": "torch" in sys.modules}
print(json.dumps(seen | {"best": best}))
"""


@pytest.fixture(scope="module")
def seen() -> dict:
    """What the network, built in a process of its own, says of the photographs."""
    done = subprocess.run([sys.executable, "-c", CODE, *RIGHT], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_it_has_the_published_number_of_parameters(seen):
    assert seen["parameters"] == 4_694_024  # 4,652,008 trained and 42,016 batch normalisation statistics


@pytest.mark.slow
def test_real_photographs_get_the_right_class(seen):
    right = [name for name, classes in RIGHT.items() if seen["best"][name] in classes]
    assert len(right) >= 6
    assert set(right) == set(RIGHT)


@pytest.mark.slow
def test_classes_have_names_in_output_order(seen):
    assert (seen["names"], seen["espresso"]) == (1000, "espresso")


@pytest.mark.slow
def test_weights_are_read_without_torch(seen):
    assert seen["torch"] is False
