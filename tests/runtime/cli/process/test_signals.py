"""A command ends on a signal: at once where Python hears it, and after a while where it computes inside a library."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

_PROGRAM = """
import hashlib, sys, time
import click
from attn_runtime.cli.process import signals
from attn_runtime.cli.options import json_option, run_cli
from attn_runtime.errors import InputError

signals._PATIENCE_S = 0.3

@click.command()
@click.argument("how")
@json_option
def program(how, as_json):
    print("ready", file=sys.stderr, flush=True)
    if how == "deaf":  # returns to Python only when it is over, and lets other threads run, as a graph does
        hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 10**9)
    try:
        time.sleep(60)
    except BaseException as end:  # as libraries do that compile a model's code
        if how == "hears":
            raise
        raise (InputError if how == "fault" else ValueError)("this model can't be captured") from end

run_cli(lambda: program, "program")
"""


@pytest.mark.parametrize("how", ["hears", "deaf", "fault", "bug"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_it_with_its_line_and_its_document(how: str, name: str) -> None:
    number = signal.Signals[name]
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, how, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr and process.stderr.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    message = "interrupted" if name == "SIGINT" else f"stopped by {name}"
    assert process.returncode == 128 + number and err == f"error: {message}\n"
    told = json.loads(out)["error"]
    assert (told["code"], told["message"]) == (128 + number, message)
