"""ai-edge-quantizer's recipe of that name with its defaults: ``by_ai_edge_quantizer.py MODEL SAMPLES MADE RECIPE``."""

import sys
from pathlib import Path

import numpy as np
from ai_edge_quantizer import quantizer, recipe

model, samples, made, name = *map(Path, sys.argv[1:4]), sys.argv[4]
tool = quantizer.Quantizer(str(model))
tool.load_quantization_recipe(getattr(recipe, name)())
found = None
if tool.need_calibration:
    inputs = dict(np.load(samples))
    rows = range(len(next(iter(inputs.values()))))
    queries = [{name: values[row : row + 1] for name, values in inputs.items()} for row in rows]
    found = tool.calibrate({"serving_default": queries})
tool.quantize(found).export_model(str(made))
