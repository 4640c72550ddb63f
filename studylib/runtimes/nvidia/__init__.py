"""TensorRT, by itself and inside ONNX Runtime, and the engines that it builds."""
