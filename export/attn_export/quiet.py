"""Keeps what libraries say (logs, warnings, prints) away from the user, and for --verbose."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator

from attn_runtime.logs import Log

_log = Log(__name__)
_OTHERS = ("onnxscript", "onnx_ir", "transformers")


@contextlib.contextmanager
def captured_output(verbose: bool = False) -> Iterator[io.StringIO]:
    """Collects Python-level stdout, stderr, warnings and log records; with `verbose` they pass to stderr instead."""
    if verbose:
        with contextlib.redirect_stdout(sys.stderr), _torchscript_log():
            yield io.StringIO()
        return
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    root = logging.getLogger()
    # torch attaches handlers of its own to these, which write to the real stderr.
    own = [n for n, made in list(root.manager.loggerDict.items()) if n.startswith("torch.") and _speaks(n, made)]
    loggers = [logging.getLogger(n) for n in dict.fromkeys(("torch", "torch.onnx", "torch.export", *_OTHERS, *own))]
    kept = [(logger, logger.handlers[:], logger.propagate) for logger in loggers]
    root.addHandler(handler)
    for logger in loggers:
        logger.handlers, logger.propagate = [], True
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            _torchscript_log(),
        ):
            warnings.simplefilter("ignore")
            yield said
    finally:
        root.removeHandler(handler)
        for logger, handlers, propagate in kept:
            logger.handlers, logger.propagate = handlers, propagate
        if text := said.getvalue().strip():
            _log.debug("libraries said: %s", text)


def _speaks(name: str, logger: object) -> bool:
    """Whether a logger writes by itself. torch.__trace does not: it records every step of a trace, for who asks for it."""
    return isinstance(logger, logging.Logger) and bool(logger.handlers) and name != "torch.__trace"


@contextlib.contextmanager
def _torchscript_log() -> Iterator[None]:
    """TorchScript's exporter logs whole graphs from C++, past sys.stdout, and PyTorch (2.13) can't switch that off.

    `setup_onnx_logging` asks whether the log was on with a function that it does not call, which is always true.
    """
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch._C, "_jit_onnx_log"):
        yield
        return
    original, torch._C._jit_onnx_log = torch._C._jit_onnx_log, print
    try:
        yield
    finally:
        torch._C._jit_onnx_log = original
