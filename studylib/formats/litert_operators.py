"""Operators of LiteRT files that are not LiteRT's own: what brings each, in words."""

# Registered in every interpreter of the package, though they are custom by their form.
_HERE = ("TFLite_Detection_PostProcess", "AudioSpectrogram", "Mfcc", "NumericVerify")
_MEDIAPIPE = (
    "MaxPoolingWithArgmax2D", "MaxUnpooling2D", "Convolution2DTransposeBias", "TransformTensorBilinear", "TransformLandmarks",
    "Landmarks2TransformMatrix", "Landmarks2TransformMatrixV2", "LandmarksToTransformMatrix", "RoIToTransformMatrix",
)  # fmt: skip
_BRINGS = (
    (_MEDIAPIPE, "MediaPipe's own runtime brings it (XNNPACK has some of these for one batch and fixed shapes)"),
    (("edgetpu-custom-op",), "an Edge TPU and its library bring it; give the file as it was before edgetpu_compiler"),
    (("TFSentencepiece", "TFText", "WhitespaceTokenize", "NgramsString"), "TensorFlow Text's library of operators brings it"),
    (("TFLite_",), "a build of LiteRT with that operator brings it"),
)  # fmt: skip


def is_here(name: str) -> bool:
    """Whether the interpreter has a kernel for this custom operator by itself."""
    return name in _HERE


def told(custom: list[str]) -> list[str]:
    """What follows from the custom operators of a file, one sentence for each, and one for all of Select TF."""
    flex, own = [name for name in custom if name.startswith("Flex")], [name for name in custom if not name.startswith("Flex")]
    said = [f"{name} is a custom operator: {_brought(name)}." for name in own]
    if flex:
        said.append(
            f"{', '.join(flex)}: needs the Select TF runtime, which no Python interpreter of LiteRT carries and which adds megabytes "
            "to an app; convert a variant made of built-in operators, or link the Select TF library into the app."
        )
    return said


def _brought(name: str) -> str:
    if is_here(name):
        return "LiteRT's interpreter has it, other runtimes and converters do not"
    known = next((words for starts, words in _BRINGS if name.startswith(starts)), None)
    return known or "the interpreter opens this file only where a kernel of that name is registered, by a library of the file's maker"
