"""TensorFlow in a process of a job loads nothing that its Keras only looks for; everybody else in it finds all there is."""

import subprocess
import sys

import pytest

from tests import ROOT

CODE = """
import sys
{begin}
import tensorflow
print(*sorted(set(sys.modules) & {{"keras", "matplotlib", "pandas", "sklearn"}}))
import pandas, sklearn.base, matplotlib.figure
import keras
keras.layers.Dense(1)
"""
LEAN = "from studylib.machine.lean_keras import load_lean_keras; load_lean_keras()"


def _loaded(begin: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", CODE.format(begin=begin)], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.slow
def test_tensorflow_comes_with_keras_and_without_what_that_only_looks_for():
    assert _loaded(LEAN) == {"keras"}


@pytest.mark.slow
def test_without_us_it_loads_all_of_it():
    assert _loaded("") == {"keras", "matplotlib", "pandas", "sklearn"}
