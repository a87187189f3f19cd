"""Command line: runs a module over its batches and writes the calibration file."""

from __future__ import annotations

import argparse
import importlib
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn

from .container import ContainerError
from .recorder import Recorder

FAILURE, USAGE, BAD_INPUT, INTERRUPTED = 1, 2, 4, 130

DESCRIPTION = """\
Runs a model and records the inputs of its linear layers for convert_to_quant --calibration-data.

FUNCTION is called without arguments and returns (module, batches) or (module, run). Each batch is a tensor, a
tuple or list of arguments, or a dict of keyword arguments for the module, and counts as one picture; run is
called once: run(module) or, where it takes two arguments, run(module, recorder), which calls
recorder.begin_picture() before each picture. Without that, all its passes are steps of one picture."""


class Failure(Exception):
    """An error for the user: exit code and one line."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


class Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise Failure(USAGE, f"{message} (--help lists the options)")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    def count(text: str) -> int:
        value = int(text)
        if value < 0:
            raise ValueError
        return value

    parser = Parser(
        prog="ctq_capture", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--module", required=True, metavar="PACKAGE.MODULE:FUNCTION", help="what to run")
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="calibration file to write (.safetensors)"
    )
    parser.add_argument(
        "--rows", type=count, default=4096, help="distinct rows kept of each input, 0 for none (default 4096)"
    )
    parser.add_argument(
        "--hessian", action="store_true", help="also accumulate H = X'X/n, 4 N^2 bytes per input"
    )
    parser.add_argument(
        "--prefix", help="put before the names of the layers, in place of a wrapper's own prefix"
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="take the names from this checkpoint, or index of shards"
    )
    parser.add_argument("--seed", type=count, default=0, help="of the row samples (default 0)")
    parser.add_argument("--source", help="free text for the file (default: the value of --module)")
    parser.add_argument(
        "--skip-padding",
        action="store_true",
        help="leave out the rows that a batch's attention_mask marks as padding",
    )
    parser.add_argument(
        "--autosave", type=float, metavar="SECONDS", help="write the file this often while running"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="only warnings and errors")
    options = parser.parse_args(arguments)
    if options.rows == 0 and not options.hessian:
        parser.error("--rows 0 without --hessian keeps nothing")
    return options


def check_writable(path: str) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise Failure(FAILURE, f"--out: {path} is a folder")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise Failure(FAILURE, f"--out: cannot make the folder {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise Failure(FAILURE, f"--out: no permission to write in {folder}")


def load(spec: str) -> tuple[nn.Module, object]:
    """The module and its batches (or run function), from 'package.module:function'."""
    module_name, colon, function_name = spec.partition(":")
    if not (module_name and colon and function_name):
        raise Failure(USAGE, f"--module: '{spec}' is not package.module:function")
    try:
        function = getattr(importlib.import_module(module_name), function_name, None)
    except ModuleNotFoundError as error:
        raise Failure(USAGE, f"--module: {error}") from None
    except Exception as error:
        raise Failure(FAILURE, f"--module: importing {module_name}: {_line(error)}") from error
    if not callable(function):
        raise Failure(USAGE, f"--module: {module_name} has no function '{function_name}'")
    try:
        result = function()
    except Exception as error:
        raise Failure(FAILURE, f"{spec}: {_line(error)}") from error
    if not (
        isinstance(result, tuple)
        and len(result) == 2
        and isinstance(result[0], nn.Module)
        and (callable(result[1]) or isinstance(result[1], Iterable))
    ):
        raise Failure(
            BAD_INPUT, f"{spec}: returned {type(result).__name__}, not (module, batches) or (module, run)"
        )
    return result


def call(module: nn.Module, batch: object) -> None:
    if isinstance(batch, Mapping):
        module(**batch)
    elif isinstance(batch, (tuple, list)):
        module(*batch)
    else:
        module(batch)


def takes_recorder(run: Callable) -> bool:
    """Whether run has a second argument without a default, or one that is called recorder."""
    try:
        arguments = list(inspect.signature(run).parameters.values())
    except (TypeError, ValueError):
        return False
    positional = [a for a in arguments if a.kind in (a.POSITIONAL_ONLY, a.POSITIONAL_OR_KEYWORD)]
    if len(positional) < 2:
        return False
    return positional[1].default is positional[1].empty or positional[1].name == "recorder"


def record(options: argparse.Namespace) -> None:
    check_writable(options.out)
    sys.path.insert(0, os.getcwd())  # the installed command, unlike `python -m`, does not look there
    try:
        recorder = Recorder(
            rows=options.rows,
            hessian=options.hessian,
            seed=options.seed,
            prefix=options.prefix,
            checkpoint=options.checkpoint,
            source=options.source or options.module,
            autosave=options.out if options.autosave is not None else None,
            autosave_seconds=options.autosave or 0,
        )
    except (ContainerError, OSError) as error:
        raise Failure(BAD_INPUT, f"--checkpoint: {_line(error)}") from None
    module, batches = load(options.module)
    try:
        recorder.attach(module)
    except ValueError as error:
        raise Failure(BAD_INPUT, f"{options.module}: {error}") from None
    if options.checkpoint and len(recorder.unmatched) == len(recorder.layers):
        raise Failure(BAD_INPUT, f"--checkpoint: {options.checkpoint} has none of the model's layers")
    module.eval()
    try:
        with recorder, torch.no_grad():
            if callable(batches):
                batches(*((module, recorder) if takes_recorder(batches) else (module,)))
            else:
                for batch in batches:
                    recorder.begin_picture()
                    if options.skip_padding:
                        mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
                        recorder.row_mask = None if mask is None else mask.bool()
                    call(module, batch)
    except Exception as error:
        raise Failure(
            FAILURE, f"{options.module}: after {recorder.samples} batches: {_line(error)}"
        ) from error
    try:
        recorder.save(options.out)
    except (OSError, ValueError) as error:
        raise Failure(FAILURE, f"{options.out}: {_line(error)}") from error


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, (ContainerError, OSError)) else f"{type(error).__name__}: {text}"


def main(arguments: list[str] | None = None) -> int:
    try:
        options = parse(arguments)
        logging.basicConfig(
            format="ctq_capture: %(message)s", level=logging.WARNING if options.quiet else logging.INFO
        )
        record(options)
    except Failure as failure:
        print(f"ctq_capture: error: {failure}", file=sys.stderr)
        return failure.code
    except KeyboardInterrupt:
        print("ctq_capture: interrupted, nothing written", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
