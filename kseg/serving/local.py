"""An export on this machine, asked like a server: TensorFlow's C++ session, in this process."""

import os

from kseg.serving import cpp_session, model


class Local(model.ServedModel):
    """An exported model in this process, with the calls of serving.Client.

    Args:
      path: what kseg export wrote: a folder of versions (the highest is taken) or one version.

    Raises:
      ValueError: if there is no export that TensorFlow's C++ session loads.
    """

    def __init__(self, path):
        self.address = version_folder(path)
        name = os.path.basename(os.path.abspath(self.address))
        self.version = int(name) if name.isdecimal() else 0
        try:
            self._session = cpp_session.CppSession(self.address)
        except cpp_session.SessionError as error:
            raise ValueError(f"{self.address} cannot be loaded: {model.sentence(error.message)}") from None

    def _run(self, signature, inputs):
        try:
            return self._session.run(signature, **inputs)
        except cpp_session.SessionError as error:
            raise ValueError(model.sentence(error.message)) from None

    def ready(self):
        return True

    def close(self):
        self._session.close()


def version_folder(path):
    """The folder with saved_model.pb: `path` itself or its highest version.

    Raises:
      ValueError: if there is none.
    """
    if os.path.isfile(os.path.join(path, "saved_model.pb")):
        return path
    versions = [int(name) for name in os.listdir(path) if name.isdecimal()] if os.path.isdir(path) else []
    if not versions:
        raise ValueError(
            f"{path} holds no exported model; give the --export_dir of kseg export, or a finished run's --workdir."
        )
    return os.path.join(path, str(max(versions)))
