"""Techniques that train: each changes a Keras model, then teaches it again. They run in a process of their own.

That process exists because tensorflow-model-optimization works on legacy Keras only, which must be chosen before
TensorFlow is imported, and because a training that is killed shall cost itself alone.
"""

# Module of each technique, with `run(job) -> notes`; imported only in the training process.
TECHNIQUES = {
    "tfmot": "studylib.training.tfmot",
    "structured": "studylib.training.structured",
    "distillation": "studylib.training.distillation",
}
# Techniques whose process must see legacy Keras.
LEGACY = {"tfmot"}
