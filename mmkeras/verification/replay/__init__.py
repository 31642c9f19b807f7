"""Check the golden outputs of a bundle: a program for a process that has TensorFlow and nothing else.

`mmkeras.verify` copies this folder into an empty one and runs it there, under any Python that has a TensorFlow:

    python -m replay WAY BUNDLE RESULTS

Nothing here may import mmkeras or Keras.

    ways         tf.saved_model.load, a session, a program in C
    golden       the golden batch: its inputs, and whether the outputs are the golden ones
    rows         rows by themselves, in reverse, none
    signatures   the signatures beside the one with golden outputs
    graph        which ops it is made of
    warm_up      requests that TensorFlow Serving replays before it answers
    program      program.c: compiled, asked, its answer read
    checks       how checks are made and written down
"""


class Skip(Exception):
    """A check that cannot be made here; its text is the reason."""
