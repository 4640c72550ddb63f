"""NNCF's post-training quantization of an ONNX file for OpenVINO, as its documentation shows it: ``by_nncf.py MODEL SAMPLES MADE``."""

import sys
from pathlib import Path

import nncf
import numpy as np
import openvino

model, samples, made = map(Path, sys.argv[1:])
inputs = dict(np.load(samples))
rows = range(len(next(iter(inputs.values()))))
dataset = nncf.Dataset(list(rows), lambda row: {name: values[row : row + 1] for name, values in inputs.items()})
openvino.save_model(nncf.quantize(openvino.Core().read_model(model), dataset), made / "model.xml")
