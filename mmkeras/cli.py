"""The command `mmkeras`: parse, call the library, print."""

import argparse
import os
import sys
from collections.abc import Sequence

from mmkeras import __version__
from mmkeras.errors import InputError


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, received {text}")
    return number


_whole.__name__ = "whole number"  # argparse names it where int() refuses


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mmkeras", description="Multimodal models in TensorFlow and Keras.")
    parser.add_argument("--version", action="version", version=f"mmkeras {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="from a table to a SavedModel, on a data set that comes with the package")
    demo.add_argument("--out", default=".", metavar="DIR", help="folder for data, saved_models and summary.json (.)")
    demo.add_argument("--fusion", default="concat", choices=["concat", "attention"], help="(concat)")
    demo.add_argument("--epochs", default=16, type=_whole, metavar="N", help="(16)")
    demo.add_argument("--seed", default=0, type=int, metavar="N", help="of weights and order of the rows (0)")
    demo.set_defaults(run=_demo)
    tune = commands.add_parser(
        "tune",
        help="search for the best fusion, towers and widths",
        description=TUNE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tune.add_argument("experiment", nargs="?", metavar="EXPERIMENT.yaml", help="table, schema and search")
    tune.add_argument("--report", metavar="DIR", help="write the report of the search in DIR, and search nothing")
    tune.add_argument("--directory", metavar="DIR", help="folder of the search (as the experiment says, else tuning)")
    tune.add_argument("--trials", type=_whole, metavar="N", help="(as the experiment says, else 30)")
    tune.add_argument("--workers", type=_whole, metavar="N", help="trials at a time on this machine (1)")
    tune.add_argument("--overwrite", action="store_true", help="begin anew")
    tune.add_argument("--chief", metavar="HOST:PORT", help="of several machines: where the chief listens")
    tune.add_argument("--worker", metavar="NAME", help="name of this worker of the chief; without it: the chief")
    tune.set_defaults(run=_tune)
    verify = commands.add_parser(
        "verify", help="check that an exported model still gives its golden outputs, without mmkeras and Keras"
    )
    verify.add_argument("directory", metavar="DIR", help="a version, or a model's folder: its newest version")
    verify.add_argument("--python", metavar="PATH", help="another Python, for instance of another TensorFlow")
    verify.add_argument("--seconds", type=_whole, default=300, metavar="N", help="time limit of each way (300)")
    verify.add_argument("--digest", action="store_true", help="print SHA-256 over all files, to be signed; run nothing")
    verify.add_argument("--expect", metavar="DIGEST", help="the digest that the version must have")
    verify.set_defaults(run=_verify)
    serve = commands.add_parser("serve-config", help="write the files with which TensorFlow Serving serves models")
    serve.add_argument("directories", nargs="+", metavar="DIR", help="folders of models, each with its versions")
    serve.add_argument("--out", default="serving", metavar="DIR", help="folder to write in (serving)")
    serve.add_argument("--port", type=_whole, default=8500, metavar="N", help="of gRPC (8500)")
    serve.add_argument("--rest-port", type=_whole, default=8501, metavar="N", help="of REST (8501)")
    serve.add_argument("--versions", type=_whole, default=2, metavar="N", help="how many of a model are loaded (2)")
    serve.set_defaults(run=_serve_config)
    return parser


TUNE = """Search for the best fusion, towers and widths.

The experiment is a YAML file, see mmkeras/experiment.py. If the search is stopped or killed, the same command continues
it. The report of the search is written into its folder.

Over several machines, with the experiment and the folder of the search on a common disk:
  mmkeras tune experiment.yaml --chief 10.0.0.1:8765                 on 10.0.0.1
  mmkeras tune experiment.yaml --chief 10.0.0.1:8765 --worker a      on each other machine, each with its own name"""


def _tune(arguments: argparse.Namespace) -> None:
    if (arguments.experiment is None) == (arguments.report is None):
        raise InputError("tune: expected either an experiment or --report DIR")
    if arguments.worker and not arguments.chief:
        raise InputError("tune: expected --chief HOST:PORT with --worker")
    if arguments.chief:
        os.environ.update(_address(arguments.chief, arguments.worker or "chief"))
    _quiet()
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # leave the GPU's memory to the trials' processes
    from mmkeras.experiment import load_experiment
    from mmkeras.tuning import TuningResult, tune

    if arguments.report:
        print(TuningResult.load(arguments.report).report())
        return
    experiment = load_experiment(arguments.experiment)
    given = {name: getattr(arguments, name) for name in ("directory", "trials", "workers") if getattr(arguments, name)}
    result = tune(experiment.data, **{**experiment.tune, **given, "overwrite": arguments.overwrite})
    print(result)
    if not arguments.worker:
        print(f"report: {result.report()}")


def _address(chief: str, name: str) -> dict[str, str]:
    """KerasTuner's environment variables."""
    host, _, port = chief.rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"tune: expected --chief HOST:PORT, received {chief!r}")
    return {"KERASTUNER_ORACLE_IP": host, "KERASTUNER_ORACLE_PORT": port, "KERASTUNER_TUNER_ID": name}


def _verify(arguments: argparse.Namespace) -> int:
    from mmkeras.verification import digest, verify

    if arguments.digest:
        print(digest(arguments.directory))
        return 0
    found = verify(arguments.directory, arguments.python, seconds=arguments.seconds, expect=arguments.expect)
    print(found)
    return 0 if found.passed else 1


def _serve_config(arguments: argparse.Namespace) -> None:
    from mmkeras.serving import serve_config

    given = {name: getattr(arguments, name) for name in ("out", "port", "rest_port", "versions")}
    for path in serve_config(*arguments.directories, **given):
        print(path)


def _demo(arguments: argparse.Namespace) -> None:
    _quiet()
    from mmkeras.demo import demo

    demo(arguments.out, arguments.fusion, arguments.epochs, arguments.seed)


def _quiet() -> None:
    """Hide TensorFlow's own log."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
    import logging

    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0, 1 if `verify` failed, 2 for bad input, 130 when interrupted."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except InputError as error:
        print(f"mmkeras: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mmkeras: interrupted", file=sys.stderr)
        return 130
