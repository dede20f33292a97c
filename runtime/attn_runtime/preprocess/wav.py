"""Read a WAV file: PCM of 8 to 32 bits and IEEE float of 32 or 64, any number of channels, with numpy alone.

The standard library's `wave` knows neither floats nor, before Python 3.12, the extensible header that many recorders write.
RIFF and the format chunk: Microsoft, "Multimedia Programming Interface and Data Specifications 1.0" (1991), and
"Multiple channel audio data and WAVE files" (2001) for the extensible header.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..files import MAX_STREAM_BYTES, bytes_or_path, irregular, reason, source_name

#: Larger files are refused before they are read: 23 minutes of 48 kHz stereo in 16 bits.
MAX_BYTES = MAX_STREAM_BYTES

# Sizes that mean "until the end": who writes to a pipe can't go back and fill the right one in. 0xFFFFFFFF is ffmpeg's and
# RF64's; 0x7FFFF000, in whole frames, sox's and espeak's; 0x80000000, and 0x7FFFFF00, arecord's; 0x7FFF0000 GStreamer's;
# 0x7FFFFFFF many a script's. Each is the end of a format's range, less some bytes for headers or a frame.
_OPEN_SIZES = (range(0x7FFF0000, 0x80000001), range(0xFFFF0000, 0x100000000))
_RIFF = (b"RIFF", b"RF64", b"BW64")
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
# All but the first two bytes of the extensible header's format GUID, which are the old tag.
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_COMPRESSED = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 49: "GSM 6.10", 80: "MPEG", 85: "MP3", 255: "AAC"}
_FULL_SCALE = {8: 1 << 7, 16: 1 << 15, 24: 1 << 23, 32: 1 << 31}
_CONVERT = "Convert it to 16-bit PCM, as with: ffmpeg -i IN -c:a pcm_s16le OUT.wav"


@dataclass(frozen=True)
class Recording:
    """`samples` float32 [frames, channels], where full scale is -1..1; `rate` in Hz; `notes` tell what the header left open."""

    samples: NDArray[np.float32]
    rate: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Chunks:
    """The bodies of the format and the data chunk; `open_end` where the header does not tell how long the data are."""

    format: memoryview
    data: memoryview
    open_end: bool
    notes: tuple[str, ...]


def read_wav(file: str | os.PathLike[str] | bytes) -> Recording:
    """The recording in the WAV file `file`, or in the bytes of one.

    A header that leaves its size open, since it was written before its samples, means all that is there; the same of a
    size of 0 that a killed recorder left behind. Samples of fewer bits than their containers are left-justified, as the
    format says. Raises InputError, in one line, for a file that is missing, empty, truncated, no WAV, compressed, of more
    than `MAX_BYTES`, without a sample, or with a sample that is not finite.
    """
    data, name = _bytes(file)
    if len(data) < 12 or data[:4] not in _RIFF or data[8:12] != b"WAVE":
        what = "the file is empty" if not data else f"it starts with {data[:4]!r}"
        if data[:4] in _RIFF:
            what += f" and ends behind {len(data)} bytes" if len(data) < 12 else f", and holds {data[8:12]!r}, no WAVE"
        raise InputError(f"recording {name}: {what}; expected a WAV file (RIFF ... WAVE). {_CONVERT}")
    chunks = _chunks(data, name)
    tag, channels, rate, bits, valid = _format(chunks.format, name)
    notes, body = list(chunks.notes), chunks.data
    if chunks.open_end and (rest := len(body) % (channels * bits // 8)):
        notes.append(f"it ends within a frame: the last {rest} bytes are left out")
        body = body[: len(body) - rest]
    samples = _samples(body, tag, channels, bits, name)
    if valid < bits:
        notes.append(f"samples of {valid} bits in {bits}, taken as left-justified, as the format says")
        if len(samples) and 0 < np.abs(samples).max() <= 2.0 ** (valid - bits):
            notes.append(f"all of them lie in the lowest {valid} bits: if they were written there, they are too quiet")
    if not len(samples):
        raise InputError(f"recording {name}: holds no samples.")
    if not np.isfinite(samples).all():
        bad = int(np.size(samples) - np.isfinite(samples).sum())
        raise InputError(f"recording {name}: {bad} samples are NaN or infinite.")
    return Recording(samples, rate, tuple(notes))


def _bytes(file: str | os.PathLike[str] | bytes) -> tuple[bytes, str]:
    """The content, and what messages call it."""
    path = file if isinstance(file, bytes) else bytes_or_path(file, "recording")
    if isinstance(path, bytes):
        return path, source_name(path)
    try:
        if not path.is_file():
            raise InputError(f"recording {path}: {irregular(path) or 'there is no such file'}.")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"recording {path.name}: {size} bytes, at most {MAX_BYTES} are read. Cut it.")
        return path.read_bytes(), path.name
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(f"recording {path.name}: can't be read: {reason(error)}") from error


def _chunks(data: bytes, name: str) -> _Chunks:
    """The first format and data chunk. What programs leave behind or between them (tags, cue points) is skipped."""
    view, at = memoryview(data), 12
    form: memoryview | None = None
    wide = None  # the size of the data that an RF64 file tells apart
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        is_open, notes = False, list[str]()
        if kind == b"data":
            if size == 0xFFFFFFFF and wide is not None and 0 < wide < 1 << 63:
                size = wide
            else:
                is_open = any(size in sizes for sizes in _OPEN_SIZES)
                if size == 0 and _is_unfinished(data, at):
                    is_open = True
                    notes.append("its header tells no length, as of a recorder that was stopped: it is read to its end")
        body = view[at + 8 :] if is_open else view[at + 8 : at + 8 + size]
        if len(body) < size and not is_open:
            raise InputError(
                f"recording {name}: truncated: its {_shown(kind)} chunk has {size} bytes, "
                f"{len(body)} are there. Copy or record it again."
            )
        if kind == b"data":
            if form is None:
                break
            return _Chunks(form, body, is_open, tuple(notes))
        if kind == b"fmt " and form is None:
            form = body
        elif kind == b"ds64" and size >= 16 and data[:4] != b"RIFF":
            wide = int.from_bytes(body[8:16], "little")
        at += 8 + size + size % 2
    lacking = "format" if form is None else "data"
    raise InputError(f"recording {name}: a WAV file without its {lacking} chunk: truncated or damaged.")


def _is_unfinished(data: bytes, at: int) -> bool:
    """Whether a data chunk of size 0 at `at` has samples behind it, since the file says that it ends there, or nothing."""
    size = int.from_bytes(data[4:8], "little")
    return len(data) > at + 8 and (size <= at or any(size in sizes for sizes in _OPEN_SIZES))


def _shown(kind: bytes) -> str:
    """A chunk's name, without the spaces that fill it up; what a terminal can't show is a question mark."""
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in kind).strip()


def _format(chunk: memoryview, name: str) -> tuple[int, int, int, int, int]:
    """(tag, channels, rate, bits of a container, bits in use), an extensible header resolved to the tag that it holds."""
    if len(chunk) < 16:
        raise InputError(f"recording {name}: its format chunk has {len(chunk)} bytes, expected 16 or more: damaged.")
    tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    valid = bits
    if tag == _EXTENSIBLE and len(chunk) >= 40 and bytes(chunk[26:40]) == _GUID_TAIL:
        tag = int.from_bytes(chunk[24:26], "little")
        valid = (tag == _PCM and int.from_bytes(chunk[18:20], "little")) or bits  # some leave it 0
    if tag not in (_PCM, _FLOAT):
        what = _COMPRESSED.get(tag, f"in format {tag:#06x}")
        raise InputError(f"recording {name}: is {what}; expected PCM or float samples. {_CONVERT}")
    if tag == _PCM and 8 < bits < 32 and bits % 8 and block == channels * -(-bits // 8):
        bits = -(-bits // 8) * 8  # the plain header tells the bits in use, and the block the containers
    if bits not in (_FULL_SCALE if tag == _PCM else (32, 64)):
        expected = "8, 16, 24 or 32" if tag == _PCM else "32 or 64"
        raise InputError(f"recording {name}: {bits} bits a sample; expected {expected}. {_CONVERT}")
    if channels and block > channels * bits // 8 and block % channels == 0 and block // channels <= 8:
        raise InputError(
            f"recording {name}: samples of {bits} bits in {block // channels} bytes each; expected {bits // 8} bytes. {_CONVERT}"
        )
    if not channels or not 1 <= rate <= 1_000_000 or block != channels * bits // 8 or valid > bits:
        raise InputError(
            f"recording {name}: {channels} channels at {rate} Hz in blocks of {block} bytes, {valid} of {bits} bits: its "
            "header is damaged."
        )
    return tag, channels, rate, bits, valid


def _samples(chunk: memoryview, tag: int, channels: int, bits: int, name: str) -> NDArray[np.float32]:
    frames, rest = divmod(len(chunk), channels * bits // 8)
    if rest:
        raise InputError(
            f"recording {name}: {len(chunk)} bytes of samples are no whole number of frames of "
            f"{channels} x {bits} bits: truncated or damaged."
        )
    if tag == _FLOAT:
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, which is told
            return np.frombuffer(chunk, f"<f{bits // 8}").astype(np.float32).reshape(frames, channels)
    raw: NDArray[Any]
    if bits == 8:  # the only size that is unsigned
        raw = np.frombuffer(chunk, np.uint8).astype(np.int16) - 128
    elif bits == 24:
        wide = np.zeros((frames * channels, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(chunk, np.uint8).reshape(-1, 3)
        raw = wide.view("<i4")[:, 0] >> 8  # the shift brings the sign along
    else:
        raw = np.frombuffer(chunk, f"<i{bits // 8}")
    # Rounded once: the scale is a power of two.
    return (raw.astype(np.float32) / np.float32(_FULL_SCALE[bits])).reshape(frames, channels)


def write_wav(path: Path, samples: NDArray[np.float32], rate: int) -> None:
    """Write mono float samples (full scale -1..1, clipped) as 16-bit PCM."""
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.clip(np.round(samples * 32768.0), -32768, 32767).astype("<i2").tobytes())
