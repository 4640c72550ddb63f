"""ONNX Runtime's static quantization by default, after the preparation it asks for: ``by_onnxruntime.py MODEL SAMPLES MADE``."""

import sys
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

model, samples, made = map(Path, sys.argv[1:])


class Samples(CalibrationDataReader):
    def __init__(self):
        inputs = dict(np.load(samples))
        rows = range(len(next(iter(inputs.values()))))
        self.left = iter([{name: values[row : row + 1] for name, values in inputs.items()} for row in rows])

    def get_next(self):
        return next(self.left, None)


prepared = made.with_name("prepared.onnx")
quant_pre_process(model, prepared)
quantize_static(prepared, made, Samples())
prepared.unlink()
