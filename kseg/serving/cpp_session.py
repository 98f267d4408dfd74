"""A SavedModel run by TensorFlow's own C++ loader and session: what TF-Serving runs, without TF-Serving.

TF-Serving loads a version folder with `LoadSavedModel` and answers requests with `Session::Run`. The same two are in
the TensorFlow wheel behind its C API, and this module calls them through ctypes. Neither Python's loader nor Keras
takes part. So faults that only those hide show here: variables that the C++ loader cannot find, requests of a wrong
rank that end the process. It does not batch, keep versions or speak a network protocol.
"""

import ctypes
import os
import threading

import numpy as np

from kseg.serving import c_api as tensorflow_c

INVALID_ARGUMENT = 3
NOT_FOUND = 5
FAILED_PRECONDITION = 9

_DT_STRING = 7
_DTYPES = {
    1: np.float32,
    2: np.float64,
    3: np.int32,
    4: np.uint8,
    5: np.int16,
    6: np.int8,
    9: np.int64,
    10: np.bool_,
    19: np.float16,
}
_NUMBERS = {np.dtype(dtype): number for number, dtype in _DTYPES.items()}
_TSTRING_BYTES = 24  # sizeof(tensorflow::tstring)


class SessionError(RuntimeError):
    """A status that is not OK. `code` is TensorFlow's (3 = INVALID_ARGUMENT), `message` its text."""

    def __init__(self, code, message):
        super().__init__(f"[{code}] {message}")
        self.code = code
        self.message = message


class CppSession:
    """One loaded SavedModel.

    Args:
      path: a version folder, the one that holds saved_model.pb.
      num_threads: for ops in parallel and inside one op; 0 lets TensorFlow choose.

    Attributes:
      signatures: {name: SignatureDef}, without the initialiser's.

    Raises:
      SessionError: if the model cannot be loaded.
    """

    def __init__(self, path, num_threads=0):
        self._session = None
        c_api = tensorflow_c.load()  # imports TensorFlow first: its libraries must be loaded in its own order
        from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

        self._lock, self._running = threading.Condition(threading.RLock()), 0
        self._operations = {}
        self._graph = c_api.TF_NewGraph()
        options = c_api.TF_NewSessionOptions()
        meta_graph = c_api.TF_NewBuffer()
        try:
            if num_threads:
                config = config_pb2.ConfigProto(
                    intra_op_parallelism_threads=num_threads, inter_op_parallelism_threads=num_threads
                ).SerializeToString()
                with _Status(c_api) as status:
                    c_api.TF_SetConfig(options, config, len(config), status)
            tags = (ctypes.c_char_p * 1)(b"serve")
            with _Status(c_api) as status:
                self._session = c_api.TF_LoadSessionFromSavedModel(
                    options, None, os.fsencode(path), tags, 1, self._graph, meta_graph, status
                )
            loaded = meta_graph_pb2.MetaGraphDef.FromString(_buffer_bytes(meta_graph))
        finally:
            c_api.TF_DeleteBuffer(meta_graph)
            c_api.TF_DeleteSessionOptions(options)
        self.signatures = {k: v for k, v in loaded.signature_def.items() if not k.startswith("__")}

    def run(self, signature, **inputs):
        """Runs a signature.

        Args:
          signature: its name.
          **inputs: for each input of the signature an array, a list of bytes (a string tensor), or the bytes of a
            serialized TensorProto in a `bytes` object.

        Returns:
          {output name: ndarray}; string tensors as arrays of bytes objects.

        Raises:
          SessionError: whatever TensorFlow says.
          ValueError: if the signature or the names of its inputs are others.
        """
        if signature not in self.signatures:
            raise ValueError(f"no signature {signature!r}; the model has {', '.join(sorted(self.signatures))}.")
        definition = self.signatures[signature]
        if set(inputs) != set(definition.inputs):
            raise ValueError(f"{signature} takes {sorted(definition.inputs)}, got {sorted(inputs)}.")
        names = list(definition.outputs)
        feeds = {definition.inputs[name].name: value for name, value in inputs.items()}
        return dict(zip(names, self.run_tensors(feeds, [definition.outputs[name].name for name in names])))

    def run_tensors(self, feeds, fetches, timeout_seconds=None):
        """As `run`, by the names of graph tensors ("serving_default_image:0"), returning a list in fetch order.

        A run that takes longer than `timeout_seconds` raises DEADLINE_EXCEEDED (4), as TF-Serving's does at its
        client's deadline.
        """
        c_api = tensorflow_c.load()
        with self._lock:
            session = self._session
            if session is None:
                raise ValueError("the session is closed.")
            self._running += 1
        tensors, options = [], None
        try:
            if timeout_seconds is not None:
                from tensorflow.core.protobuf import config_pb2

                limit = config_pb2.RunOptions(timeout_in_ms=max(round(1000 * timeout_seconds), 1)).SerializeToString()
                options = c_api.TF_NewBufferFromString(limit, len(limit))
            for value in feeds.values():
                tensors.append(_to_tensor(c_api, value))
            fed = (tensorflow_c.Output * len(feeds))(*[self._output(name) for name in feeds])
            fetched = (tensorflow_c.Output * len(fetches))(*[self._output(name) for name in fetches])
            results = (tensorflow_c.Handle * len(fetches))()
            with _Status(c_api) as status:
                c_api.TF_SessionRun(
                    session,
                    options,
                    fed,
                    (tensorflow_c.Handle * len(tensors))(*tensors),
                    len(tensors),
                    fetched,
                    results,
                    len(fetches),
                    None,
                    0,
                    None,
                    status,
                )
            try:
                return [_to_array(c_api, tensor) for tensor in results]
            finally:
                for tensor in results:
                    c_api.TF_DeleteTensor(tensor)
        finally:
            with self._lock:
                self._running -= 1
                self._lock.notify_all()
            for tensor in tensors:
                c_api.TF_DeleteTensor(tensor)
            if options:
                c_api.TF_DeleteBuffer(options)

    def close(self):
        """Frees the session and its graph, when what runs in other threads has been called off; twice is fine."""
        c_api = tensorflow_c.load()
        with self._lock:
            session, self._session = self._session, None
        if session is None:
            return
        with _Status(c_api) as status:
            c_api.TF_CloseSession(session, status)
        with self._lock:
            self._lock.wait_for(lambda: not self._running)
        with _Status(c_api) as status:
            c_api.TF_DeleteSession(session, status)
        c_api.TF_DeleteGraph(self._graph)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def _output(self, name):
        with self._lock:
            if name not in self._operations:
                operation, _, index = name.rpartition(":")
                handle = tensorflow_c.load().TF_GraphOperationByName(self._graph, operation.encode())
                if not handle:
                    raise SessionError(NOT_FOUND, f"the graph has no operation {operation}")
                self._operations[name] = (handle, int(index))
            return tensorflow_c.Output(*self._operations[name])


class _Status:
    """A TF_Status that raises SessionError on leaving the block, unless it is OK or something else was raised."""

    def __init__(self, c_api):
        self._c_api = c_api

    def __enter__(self):
        self._handle = self._c_api.TF_NewStatus()
        return self._handle

    def __exit__(self, error_type, *unused):
        code = self._c_api.TF_GetCode(self._handle)
        message = self._c_api.TF_Message(self._handle).decode(errors="replace")
        self._c_api.TF_DeleteStatus(self._handle)
        if code and error_type is None:
            raise SessionError(code, message)


def _to_tensor(c_api, value):
    """A TF_Tensor from a serialized TensorProto, a list of bytes or an array; the caller frees it."""
    if not isinstance(value, bytes):
        array = np.asarray(value, dtype=object) if _is_strings(value) else np.asarray(value, order="C")
        if array.dtype in _NUMBERS:
            shape = (ctypes.c_int64 * array.ndim)(*array.shape)
            tensor = c_api.TF_AllocateTensor(_NUMBERS[array.dtype], shape, array.ndim, array.nbytes)
            ctypes.memmove(c_api.TF_TensorData(tensor), array.ctypes.data, array.nbytes)
            return tensor
        value = _string_proto(array)
    tensor = c_api.TF_AllocateTensor(1, None, 0, 4)
    buffer = c_api.TF_NewBufferFromString(value, len(value))
    try:
        with _Status(c_api) as status:
            c_api.TF_TensorFromProto(buffer, tensor, status)
    except SessionError:
        c_api.TF_DeleteTensor(tensor)
        raise
    finally:
        c_api.TF_DeleteBuffer(buffer)
    return tensor


def _is_strings(value):
    return isinstance(value, (list, tuple)) and all(isinstance(item, bytes) for item in value)


def _string_proto(array):
    from tensorflow.core.framework import tensor_pb2

    if array.dtype != object:
        raise ValueError(f"arrays of {array.dtype} cannot be fed.")
    proto = tensor_pb2.TensorProto(dtype=_DT_STRING, string_val=array.ravel().tolist())
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    return proto.SerializeToString()


def _to_array(c_api, tensor):
    shape = [c_api.TF_Dim(tensor, i) for i in range(c_api.TF_NumDims(tensor))]
    data, dtype = c_api.TF_TensorData(tensor), c_api.TF_TensorType(tensor)
    if dtype == _DT_STRING:
        array = np.empty(int(np.prod(shape, dtype=np.int64)), dtype=object)
        for i in range(array.size):
            string = data + _TSTRING_BYTES * i
            array[i] = ctypes.string_at(c_api.TF_StringGetDataPointer(string), c_api.TF_StringGetSize(string))
        return array.reshape(shape)
    array = np.empty(shape, _DTYPES[dtype])
    ctypes.memmove(array.ctypes.data, data, array.nbytes)
    return array


def _buffer_bytes(buffer):
    return ctypes.string_at(buffer.contents.data, buffer.contents.length)
