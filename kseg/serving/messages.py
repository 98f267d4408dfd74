"""The messages of TF-Serving's protocol that kseg speaks, without TensorFlow and without generated code.

A subset of `tensorflow.serving.PredictionService` and of what its requests carry. On the wire only field numbers and
types count, so the messages live in a protobuf package of our own. Under the official names they would collide with
TensorFlow's when both are imported. tests/serving/test_serving.py holds every field against tensorflow-serving-api.
"""

import math

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

PACKAGE = "kseg.wire"
PREDICT = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
AVAILABLE = 30  # ModelVersionStatus.State

_MOST_VALUES = 2**31 - 1  # of a tensor, as many bytes as a message may have

_UINT8, _STRING, _INT64, _FLOAT, _INT32 = 4, 7, 9, 1, 3  # tensorflow.DataType
_NUMPY = {_UINT8: (np.uint8, "int_val"), _INT32: (np.int32, "int_val"), _INT64: (np.int64, "int64_val")}
_NUMPY |= {_FLOAT: (np.float32, "float_val")}

# message: ((field, number, type, repeated), ...); a type with a dot is a message. In the official files `dtype` and
# `state` are enums, which the wire does not tell from int32.
_MESSAGES = {
    "Dim": (("size", 1, "int64", False), ("name", 2, "string", False)),
    "TensorShapeProto": (("dim", 2, ".Dim", True), ("unknown_rank", 3, "bool", False)),
    "TensorProto": (
        ("dtype", 1, "int32", False),
        ("tensor_shape", 2, ".TensorShapeProto", False),
        ("tensor_content", 4, "bytes", False),
        ("float_val", 5, "float", True),
        ("int_val", 7, "int32", True),
        ("string_val", 8, "bytes", True),
        ("int64_val", 10, "int64", True),
    ),
    "ModelSpec": (
        ("name", 1, "string", False),
        ("version", 2, ".google.protobuf.Int64Value", False),
        ("version_label", 4, "string", False),
        ("signature_name", 3, "string", False),
    ),
    "PredictRequest": (
        ("model_spec", 1, ".ModelSpec", False),
        ("inputs", 2, "map .TensorProto", True),
        ("output_filter", 3, "string", True),
    ),
    "PredictResponse": (("outputs", 1, "map .TensorProto", True), ("model_spec", 2, ".ModelSpec", False)),
    "PredictLog": (("request", 1, ".PredictRequest", False), ("response", 2, ".PredictResponse", False)),
    "PredictionLog": (("predict_log", 6, ".PredictLog", False),),
    "GetModelStatusRequest": (("model_spec", 1, ".ModelSpec", False),),
    "ModelVersionStatus": (("version", 1, "int64", False), ("state", 2, "int32", False)),
    "GetModelStatusResponse": (("model_version_status", 1, ".ModelVersionStatus", True),),
}


def _build():
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="kseg/wire.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )

    def add(message, name, number, type_name, repeated):
        field = message.field.add(name=name, number=number, label=3 if repeated else 1)
        if not type_name.startswith("."):
            field.type = getattr(field_type, f"TYPE_{type_name.upper()}")
            return field
        field.type = field_type.TYPE_MESSAGE
        field.type_name = type_name if type_name.startswith(".google.") else f".{PACKAGE}{type_name}"
        return field

    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, number, type_name, repeated in fields:
            if not type_name.startswith("map "):
                add(message, name, number, type_name, repeated)
                continue
            # map<string, V> is on the wire a repeated message of a key and a value.
            entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
            entry.options.map_entry = True
            add(entry, "key", 1, "string", False)
            add(entry, "value", 2, type_name.removeprefix("map "), False)
            add(message, name, number, f".{message_name}.{entry.name}", repeated)
        if message_name == "ModelSpec":
            message.oneof_decl.add(name="version_choice")
            for field in message.field:
                if field.name in ("version", "version_label"):
                    field.oneof_index = 0
    pool = descriptor_pool.Default()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in _MESSAGES
    }


_classes = _build()
TensorProto = _classes["TensorProto"]
ModelSpec = _classes["ModelSpec"]
PredictRequest = _classes["PredictRequest"]
PredictResponse = _classes["PredictResponse"]
PredictionLog = _classes["PredictionLog"]
GetModelStatusRequest = _classes["GetModelStatusRequest"]
GetModelStatusResponse = _classes["GetModelStatusResponse"]


def predict_request(signature, inputs, model="kseg", version=0, label=""):
    """A PredictRequest.

    Args:
      signature: name.
      inputs: {name: list of bytes, or uint8 array}.
      model: its name on the server.
      version: number, 0 for the highest that is served.
      label: "stable", "canary"; "" for none.
    """
    request = PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version:
        request.model_spec.version.value = version
    elif label:
        request.model_spec.version_label = label
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(to_tensor(value))
    return request


def checked(value):
    """A list of bytes as it is; anything else as a uint8 array.

    Raises:
      ValueError: if it has numbers other than integers from 0 to 255.
    """
    if isinstance(value, (list, tuple)) and all(isinstance(item, bytes) for item in value):
        return list(value)
    array = np.asarray(value)
    if array.dtype.kind not in "ui":
        raise ValueError(f"pixels are integers from 0 to 255, not {array.dtype}; round and clip them first.")
    if array.size and (array.min() < 0 or array.max() > 255):
        raise ValueError(f"pixels are integers from 0 to 255; here they go from {array.min()} to {array.max()}.")
    return np.ascontiguousarray(array, np.uint8).reshape(array.shape)


def to_tensor(value):
    """TensorProto of a list of bytes or of integers from 0 to 255; ValueError on other numbers."""
    value = checked(value)
    tensor = TensorProto()
    if isinstance(value, list):
        tensor.dtype, shape = _STRING, (len(value),)
        tensor.string_val.extend(value)
    else:
        tensor.dtype, shape = _UINT8, value.shape
        tensor.tensor_content = value.tobytes()
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def from_tensor(tensor):
    """A list of bytes, or an array, from a TensorProto in either of the two ways a server may pack it.

    Raises:
      ValueError: on a type that no kseg signature answers, or on contents that do not fill the shape.
    """
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.dtype == _STRING:
        return list(tensor.string_val)
    if tensor.dtype not in _NUMPY:
        raise ValueError(f"the answer has a tensor of TensorFlow type {tensor.dtype}, which kseg does not use.")
    dtype, field = _NUMPY[tensor.dtype]
    if tensor.tensor_content:
        array = np.frombuffer(tensor.tensor_content, dtype)
    else:
        try:
            array = np.array(getattr(tensor, field), dtype)
        except OverflowError:
            raise ValueError(f"the answer has values that are no {np.dtype(dtype)}.") from None
    count = math.prod(shape)
    if min(shape, default=0) < 0 or count > _MOST_VALUES:
        raise ValueError(f"the answer has a tensor of shape {shape}.")
    if array.size == 1:  # a constant tensor may be sent as its one value
        array = np.broadcast_to(array.ravel(), count)
    if array.size != count:
        raise ValueError(f"the answer has {array.size} values for a tensor of shape {shape}.")
    return array.reshape(shape)
