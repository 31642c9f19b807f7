"""The command `mmkeras`: parse, call the library, print."""

import argparse
import os
import sys

from mmkeras import __version__
from mmkeras.errors import InputError


def _whole(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, received {text}")
    return number


_whole.__name__ = "whole number"  # argparse names it where int() refuses


def _parser():
    parser = argparse.ArgumentParser(prog="mmkeras", description="Multimodal models in TensorFlow and Keras.")
    parser.add_argument("--version", action="version", version=f"mmkeras {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="the whole road on a data set that comes with the package")
    demo.add_argument("--out", default=".", metavar="DIR", help="folder for data, saved_models and summary.json (.)")
    demo.add_argument("--fusion", default="concat", choices=["concat", "attention"], help="(concat)")
    demo.add_argument("--epochs", default=16, type=_whole, metavar="N", help="(16)")
    demo.add_argument("--seed", default=0, type=int, metavar="N", help="of weights and order of the rows (0)")
    demo.set_defaults(run=_demo)
    return parser


def _demo(arguments):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported: its own news is not the user's
    import logging

    from mmkeras.demo import demo

    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    demo(arguments.out, arguments.fusion, arguments.epochs, arguments.seed)


def main(argv=None):
    """Run a command. Returns the exit code: 0, 2 for bad input, 130 when interrupted."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except InputError as error:
        print(f"mmkeras: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mmkeras: interrupted", file=sys.stderr)
        return 130
    return 0
