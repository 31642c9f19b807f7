"""A client for models on TensorFlow Serving, and the files to serve them.

    client = Client("http://localhost:8501", model="keypad", schema="saved_models/keypad/1")
    client.predict({"image": ["7.png"], "question": ["what is the digit?"], "audio": ["five.flac"]})["label"]

It needs neither TensorFlow nor Keras: REST needs the package requests, gRPC grpcio and protobuf.
"""

from mmkeras.serving.client import Client
from mmkeras.serving.config import serve_config
from mmkeras.serving.failures import ServingError

__all__ = ["Client", "ServingError", "serve_config"]


def __dir__() -> list[str]:
    """The public names."""
    return __all__
