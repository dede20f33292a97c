#!/usr/bin/env bash
# `import openvino` writes an id into the home folder, and sends an event to Google Analytics.
#
# Library: openvino 2026.4.1 with openvino-telemetry 2025.2.0, which it requires; Python 3.11, Linux.
# Guess: the runtime reports nothing. Telemetry is a matter of the converter, ovc, when that is called, and asks before.
# Seen: the import runs openvino.tools.ovc, which sends the event "import"; a file that a program of its own writes opts out,
# and so does CI=true. Without openvino_telemetry, which the import can do without, there is none of it.
# (The script answers for the network: no name is looked up, and nothing leaves the machine.)
# Output:
#     imported                        asks for www.google-analytics.com, leaves intel/openvino_ga_cid intel/stats
#     with CI=true                    asks for nobody, leaves nothing
#     without openvino_telemetry      asks for nobody, leaves nothing

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 openvino==2026.4.1 openvino-telemetry==2025.2.0

cat > "$folder/look.py" <<'PYTHON'
import os
import socket
import sys
import time
from pathlib import Path

asked = Path(sys.argv[1])


def answer(host, *rest, **more):
    asked.write_text(f"{host}\n")  # a forked child sends
    raise socket.gaierror("no network here")


socket.getaddrinfo = answer
if sys.argv[2:] == ["without"]:
    sys.modules["openvino_telemetry"] = None
import openvino

time.sleep(2)
home = os.environ["HOME"]
left = sorted(os.path.relpath(os.path.join(at, name), home) for at, _, names in os.walk(home) for name in names)
told = asked.read_text().strip() if asked.exists() else "nobody"
print(f"asks for {told}, leaves {' '.join(left) or 'nothing'}")
PYTHON
look() {
    home=$(mktemp -d "$folder/home.XXXX")
    printf '%-32s' "$1"
    env -u CI -u TF_BUILD -u JENKINS_URL "HOME=$home" "${@:2}"
}
{
    look "imported" "$folder/venv/bin/python" "$folder/look.py" "$folder/asked.1"
    look "with CI=true" CI=true "$folder/venv/bin/python" "$folder/look.py" "$folder/asked.2"
    look "without openvino_telemetry" "$folder/venv/bin/python" "$folder/look.py" "$folder/asked.3" without
} | tee "$folder/seen"
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
