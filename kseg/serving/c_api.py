"""TensorFlow's C API, as far as cpp_session.py uses it, through ctypes."""

import ctypes
import functools
import importlib.util
import os

Handle = ctypes.c_void_p


class Buffer(ctypes.Structure):
    _fields_ = [("data", Handle), ("length", ctypes.c_size_t), ("deallocator", Handle)]


class Output(ctypes.Structure):
    _fields_ = [("operation", Handle), ("index", ctypes.c_int)]


class CApi:
    """The functions of TensorFlow's C API that are used here, with their types."""

    def __init__(self, framework, library):
        void, size, integer, text = Handle, ctypes.c_size_t, ctypes.c_int, ctypes.c_char_p
        buffer, long = ctypes.POINTER(Buffer), ctypes.c_int64
        functions = {
            "TF_NewStatus": (void,),
            "TF_DeleteStatus": (None, void),
            "TF_GetCode": (integer, void),
            "TF_Message": (text, void),
            "TF_NewBuffer": (buffer,),
            "TF_NewBufferFromString": (buffer, text, size),
            "TF_DeleteBuffer": (None, buffer),
            "TF_NewGraph": (void,),
            "TF_DeleteGraph": (None, void),
            "TF_NewSessionOptions": (void,),
            "TF_DeleteSessionOptions": (None, void),
            "TF_SetConfig": (None, void, text, size, void),
            "TF_LoadSessionFromSavedModel": (
                *(void, void, void, text),
                *(ctypes.POINTER(text), integer, void, buffer, void),
            ),
            "TF_CloseSession": (None, void, void),
            "TF_DeleteSession": (None, void, void),
            "TF_GraphOperationByName": (void, void, text),
            "TF_SessionRun": (
                *(None, void, buffer),
                *(ctypes.POINTER(Output), ctypes.POINTER(void), integer),
                *(ctypes.POINTER(Output), ctypes.POINTER(void), integer),
                *(void, integer, void, void),
            ),
            "TF_AllocateTensor": (void, integer, ctypes.POINTER(long), integer, size),
            "TF_TensorFromProto": (None, buffer, void, void),
            "TF_DeleteTensor": (None, void),
            "TF_TensorType": (integer, void),
            "TF_NumDims": (integer, void),
            "TF_Dim": (long, void, integer),
            "TF_TensorData": (void, void),
            "TF_StringGetDataPointer": (void, void),
            "TF_StringGetSize": (size, void),
        }
        for name, (result, *arguments) in functions.items():
            # Which of the two libraries exports a function differs between releases.
            function = getattr(library if hasattr(library, name) else framework, name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)


@functools.cache
def load():
    """The one CApi of this process; imports TensorFlow."""
    import tensorflow  # noqa: F401  loads what the two libraries need, in the right order

    folder = os.path.dirname(importlib.util.find_spec("tensorflow").origin)
    framework = ctypes.CDLL(os.path.join(folder, "libtensorflow_framework.so.2"), mode=ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(os.path.join(folder, "libtensorflow_cc.so.2"), mode=ctypes.RTLD_GLOBAL)
    return CApi(framework, library)
