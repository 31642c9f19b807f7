"""Files and what is behind URLs, opened alike."""

import io

import tensorflow as tf


def open_file(path):
    """A file's bytes, to read and seek in: a local file opened, or one behind a URL that was fetched.

    Args:
        path: str, a path or a URL of any scheme that `tf.io.gfile` reads.

    Raises:
        OSError: it cannot be read.
        ValueError: no path at all, as one that holds a NUL.
    """
    if "://" not in path:
        return open(path, "rb")
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return io.BytesIO(file.read())
    except tf.errors.OpError as error:
        raise OSError(error.message) from error
