"""The messages of the Open Inference Protocol, version 2, over gRPC: made when they are needed, of their names, numbers and types.

Source: the public description of the service ``inference.GRPCInferenceService`` (open-inference-protocol, ``open_inference_grpc.proto``).
Fields that nobody here reads are left out: protobuf passes over them.
"""

import functools
from types import SimpleNamespace

SERVICE = "inference.GRPCInferenceService"
_PACKAGE = "inference"
# Of each message its fields: number, name, type; `*` for a list; a type with a capital is another message.
_FIELDS = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "1 live bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "1 ready bool",
    "ModelReadyRequest": "1 name string, 2 version string",
    "ModelReadyResponse": "1 ready bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "1 name string, 2 version string, 3 extensions string*",
    "ModelMetadataRequest": "1 name string, 2 version string",
    "TensorMetadata": "1 name string, 2 datatype string, 3 shape int64*",
    "ModelMetadataResponse": "1 name string, 2 versions string*, 3 platform string, 4 inputs TensorMetadata*, 5 outputs TensorMetadata*",
    "InferTensorContents": "1 bool_contents bool*, 2 int_contents int32*, 3 int64_contents int64*, 4 uint_contents uint32*, "
    "5 uint64_contents uint64*, 6 fp32_contents float*, 7 fp64_contents double*, 8 bytes_contents bytes*",
    "InferInputTensor": "1 name string, 2 datatype string, 3 shape int64*, 5 contents InferTensorContents",
    "InferRequestedOutputTensor": "1 name string",
    "ModelInferRequest": "1 model_name string, 2 model_version string, 3 id string, 5 inputs InferInputTensor*, "
    "6 outputs InferRequestedOutputTensor*, 7 raw_input_contents bytes*",
    "InferOutputTensor": "1 name string, 2 datatype string, 3 shape int64*, 5 contents InferTensorContents",
    "ModelInferResponse": "1 model_name string, 2 model_version string, 3 id string, 5 outputs InferOutputTensor*, "
    "6 raw_output_contents bytes*",
}


@functools.cache
def messages() -> SimpleNamespace:
    """The classes of the messages by their names."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="studylib/open_inference.proto", package=_PACKAGE, syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field in filter(None, fields.split(", ")):
            number, own, kind = field.split(" ")
            label = kinds.LABEL_REPEATED if kind.endswith("*") else kinds.LABEL_OPTIONAL
            plain = kind.removesuffix("*")
            told = message.field.add(name=own, number=int(number), label=label)
            if plain[0].isupper():
                told.type, told.type_name = kinds.TYPE_MESSAGE, f".{_PACKAGE}.{plain}"
            else:
                told.type = getattr(kinds, f"TYPE_{plain.upper()}")
    # A pool of its own: somebody else's messages of this name, in the same process, would be another file of the same things.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return SimpleNamespace(**{name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _FIELDS})
