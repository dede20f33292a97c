#!/usr/bin/env bash
# Importing onnxruntime on Linux starts a thread of a telemetry library, which is on unless an environment variable says no.
#
# Library: onnxruntime 1.28.0 and 1.31.1, the wheels of PyPI for x86-64 Linux, Python 3.11.
# Guess: telemetry is a matter of the Windows builds, as its privacy page long said; the wheel for Linux has none, and an
# import starts no thread: those of a session start with the session.
# Seen: from 1.29 on the wheel holds Microsoft's 1DS client, and its import alone starts a thread. ORT_DISABLE_TELEMETRY=1,
# set before the import, keeps it from starting; onnxruntime.disable_telemetry_events(), called after it, leaves it running.
# A process that forks after the import leaves its child a library that believes in a thread which is not there.
# Output:
#     1.28.0  telemetry in the library no   threads that the import adds 0
#     1.31.1  telemetry in the library yes  threads that the import adds 1
#     1.31.1  with ORT_DISABLE_TELEMETRY=1  threads that the import adds 0
#     1.31.1  disable_telemetry_events()    threads that are left of it  1

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unset ORT_DISABLE_TELEMETRY
for version in 1.28.0 1.31.1; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 "onnxruntime==$version"
done

count='import os, numpy; n = lambda: len(os.listdir("/proc/self/task")); before = n(); import onnxruntime'
new=$folder/1.31.1/bin/python
{
  for version in 1.28.0 1.31.1; do
    library=$(echo "$folder/$version"/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.*)
    there=no
    if grep -q TelemetrySystem "$library"; then there=yes; fi
    added=$("$folder/$version/bin/python" -c "$count; print(n() - before)")
    printf '%s  telemetry in the library %-3s  threads that the import adds %s\n' "$version" "$there" "$added"
  done
  added=$(ORT_DISABLE_TELEMETRY=1 "$new" -c "$count; print(n() - before)")
  echo "1.31.1  with ORT_DISABLE_TELEMETRY=1  threads that the import adds $added"
  left=$("$new" -c "$count; onnxruntime.disable_telemetry_events(); print(n() - before)")
  echo "1.31.1  disable_telemetry_events()    threads that are left of it  $left"
} | tee "$folder/seen"

if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
