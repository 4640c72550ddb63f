"""Olive's automatic optimizer, asked for int8 on the processor: ``by_olive.py MODEL SAMPLES MADE``."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

model, _, made = map(Path, sys.argv[1:])
with tempfile.TemporaryDirectory() as folder:
    wishes = ["--device", "cpu", "--provider", "CPUExecutionProvider", "--precision", "int8", "--output_path", folder]
    # Its successor `optimize` calibrates with sentences from a hub, whatever the model.
    subprocess.run([sys.executable, "-m", "olive", "auto-opt", "--model_name_or_path", str(model), *wishes], check=True)
    (file,) = Path(folder).rglob("*.onnx")
    shutil.copy(file, made)
