"""The process: one way of replaying, one line of results a check."""

import sys

if __name__ == "__main__":
    # TensorFlow imports Keras where it can; here Keras looks as if it were not installed
    sys.modules.update(dict.fromkeys(("mmkeras", "keras", "tf_keras")))

from .checks import main

if __name__ == "__main__":
    main(*sys.argv[1:])
