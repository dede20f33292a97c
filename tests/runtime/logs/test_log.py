"""What modules log with: nothing is loaded, printed or lost."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from attn_runtime.logs import Log


def test_it_is_pythons_logger_of_that_name(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "attn_runtime"):
        Log("attn_runtime.some.module").info("opened %s", "x")
        Log("attn_runtime.some.module").debug("not %s", "this")
    (record,) = caplog.records
    assert (record.name, record.getMessage(), record.levelname) == ("attn_runtime.some.module", "opened x", "INFO")
    assert record.pathname == __file__, "the place that logged, and not the logger's own"


def test_a_library_prints_nothing_and_loads_nothing() -> None:
    code = (
        "import sys; from attn_runtime.logs import Log; Log('attn_runtime.x').error('a'); print('logging' in sys.modules);"
        "import logging; Log('attn_runtime.x').error('b')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
