#!/usr/bin/env bash
# click.echo writes UTF-8 into a stdout that was told to be ASCII, and forgets what was to become of other characters.
#
# Library: click 8.5.1, Python 3.11 and later, Linux.
# Guess: click.echo writes what print writes: PYTHONIOENCODING=ascii:replace gives "?", ascii:backslashreplace an escape,
# and ascii alone an error, as any other encoding gives its own bytes.
# Seen: every other encoding is kept. One that is called ASCII is taken for a mistake of the locale, also where it was
# named on purpose with a way to replace characters: click wraps the stream's buffer once more, in UTF-8. Whoever reads
# ASCII at the other end gets bytes beyond it, from click.echo alone; print, on the same stream, keeps to what was asked.
# Output:
#     latin-1                 print b'Zo\xeb'  click.echo b'Zo\xeb'
#     ascii:replace           print b'Zo?'  click.echo b'Zo\xc3\xab'
#     ascii:backslashreplace  print b'Zo\\xeb'  click.echo b'Zo\xc3\xab'
#     ascii                   print UnicodeEncodeError  click.echo b'Zo\xc3\xab'

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check click==8.5.1

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import os
import subprocess
import sys


def written(statement, encoding):
    done = subprocess.run(
        [sys.executable, "-c", f"import click; {statement}('Zo\\u00eb')"],
        capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    return done.stdout.rstrip() if done.returncode == 0 else done.stderr.decode().split("\n")[-2].partition(":")[0]


for encoding in ("latin-1", "ascii:replace", "ascii:backslashreplace", "ascii"):
    print(f"{encoding:<23} print {written('print', encoding)}  click.echo {written('click.echo', encoding)}")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
