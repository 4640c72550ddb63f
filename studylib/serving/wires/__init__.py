"""How queries and answers travel: one module a wire, used by servers and clients alike.

TensorFlow Serving's own (``tfs``) and the Open Inference Protocol, version 2 (``v2``), each over REST and over gRPC.
"""
