"""WAV files by hand, so that the readers are not held against their own writer: good ones, and what must be refused."""

from __future__ import annotations

import struct

import numpy as np


def riff(
    samples: bytes,
    tag: int,
    channels: int,
    rate: int,
    bits: int,
    *,
    extensible: bool = False,
    before=b"",
    valid: int | None = None,
) -> bytes:
    """A WAV file by hand, so that the reader is not held against its own writer."""
    block = channels * -(-bits // 8) if bits > 8 and valid is None else channels * bits // 8
    header = struct.pack("<HHIIHH", 0xFFFE if extensible else tag, channels, rate, rate * block, block, bits)
    if extensible:
        guid = struct.pack("<H", tag) + bytes.fromhex("000000001000800000aa00389b71")
        header += struct.pack("<HHI", 22, bits if valid is None else valid, 3) + guid
    chunks = b"fmt " + struct.pack("<I", len(header)) + header + before
    chunks += b"data" + struct.pack("<I", len(samples)) + samples + b"\0" * (len(samples) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


VALUES = np.array([0.0, 0.5, -0.5, 0.25, -1.0, 0.75])


def packed(bits: int) -> bytes:
    if bits == 8:
        return (VALUES * 128 + 128).astype(np.uint8).tobytes()
    whole = (VALUES * 2 ** (bits - 1)).astype("<i8")
    return b"".join(int(v).to_bytes(bits // 8, "little", signed=True) for v in whole)


def open_size(
    size: int,
    kind: bytes = b"RIFF",
    *,
    whole: int = 0xFFFFFFFF,
    ds64: int | None = None,
    cut: int = 0,
    channels: int = 1,
) -> bytes:
    """16-bit samples behind a header that has `size` for their bytes and `whole` for the file's, less `cut` bytes at the end."""
    data = riff(packed(16), 1, channels, 8000, 16)
    wide = b"" if ds64 is None else b"ds64" + struct.pack("<IQQQI", 28, 2**64 - 1, ds64, 0, 0)
    at = data.index(b"data") + 4
    data = kind + struct.pack("<I", whole) + b"WAVE" + wide + data[12:at] + struct.pack("<I", size) + data[at + 4 :]
    return data[: len(data) - cut]


GOOD = riff(packed(16), 1, 1, 8000, 16)
#: What programs write that can't go back to the header, and what killed recorders leave: every sample is there.
OPEN = {
    "ffmpeg": open_size(0xFFFFFFFF),
    "sox": open_size(0x7FFFF000, whole=0x7FFFF024),
    "sox-24-bit-frames": open_size(0x7FFFF000 - 0x7FFFF000 % 6, whole=0x7FFFF024),
    "arecord": open_size(0x80000000, whole=0x80000024),
    "old-arecord": open_size(0x7FFFFF00, whole=0x7FFFFF24),
    "gstreamer": open_size(0x7FFF0000, whole=0x7FFF0024),
    "largest-signed": open_size(0x7FFFFFFF, whole=0x7FFFFFFF),
    "less-the-header": open_size(0xFFFFFFFF - 36),
    "never-patched": open_size(0, whole=0),
    "never-patched-but-its-header": open_size(0, whole=36),
    "never-patched-and-open": open_size(0),
    "rf64": open_size(0xFFFFFFFF, b"RF64", ds64=12),
    "rf64-open": open_size(0xFFFFFFFF, b"RF64", ds64=2**64 - 1),
    "rf64-never-patched": open_size(0xFFFFFFFF, b"RF64", ds64=0),
    "bw64": open_size(0xFFFFFFFF, b"BW64", ds64=12),
    "rf64-of-a-small-size": open_size(12, b"RF64"),
}
#: Fewer bits in use than a sample has: (file, bits in use). VALUES fit in all of them.
NARROW = {
    "extensible": (riff(packed(16), 1, 1, 8000, 16, extensible=True, valid=12), 12),
    "plain": (riff(packed(16), 1, 1, 8000, 12), 12),
    "20-in-24": (riff(packed(24), 1, 1, 8000, 20), 20),
    "24-in-32": (riff(packed(32), 1, 1, 8000, 32, extensible=True, valid=24), 24),
}
REFUSED = {
    "empty": (b"", "the file is empty"),
    "no-wav": (b"hello, this is a text", r"expected a WAV file"),
    "no-wave": (GOOD[:8] + b"AVI " + GOOD[12:], r"starts with b'RIFF', and holds b'AVI ', no WAVE"),
    "no-wave-yet": (GOOD[:10], r"starts with b'RIFF' and ends behind 10 bytes"),
    "24-bits-in-4-bytes": (
        GOOD[:32] + struct.pack("<HH", 4, 24) + GOOD[36:],
        "samples of 24 bits in 4 bytes each; expected 3 bytes",
    ),
    "mp3": (b"ID3\x04" + bytes(100), r"starts with b'ID3.*ffmpeg"),
    "rf64-truncated": (
        open_size(0xFFFFFFFF, b"RF64", ds64=100),
        "truncated: its data chunk has 100 bytes, 12 are there",
    ),
    "a-size-that-is-real": (open_size(0x12345678), "truncated: its data chunk has 305419896 bytes, 12 are there"),
    "below-the-open-sizes": (open_size(0x7FFEFFFF), "truncated"),
    "above-the-open-sizes": (open_size(0x80000001), "truncated"),
    "no-samples-and-tags": (
        GOOD[:4] + struct.pack("<I", 48) + GOOD[8:40] + bytes(4) + b"LIST\4\0\0\0abcd",
        "holds no samples",
    ),
    "more-bits-than-there-are": (riff(packed(16), 1, 1, 8000, 16, extensible=True, valid=20), "20 of 16 bits"),
    "header-only": (GOOD[:12], "without its format chunk: truncated"),
    "cut-in-the-header": (GOOD[:30], "truncated: its fmt chunk has 16 bytes, 10 are there"),
    "no-data": (GOOD[:36], "without its data chunk"),
    "cut-in-the-samples": (GOOD[:-3], "truncated: its data chunk has 12 bytes, 9 are there"),
    "no-samples": (riff(b"", 1, 1, 8000, 16), "holds no samples"),
    "half-a-frame": (riff(packed(16)[:10], 1, 2, 8000, 16), "no whole number of frames"),
    "mu-law": (riff(bytes(8), 7, 1, 8000, 8), "is mu-law; expected PCM or float"),
    "adpcm": (riff(bytes(8), 2, 1, 8000, 8), "is ADPCM"),
    "odd-format": (riff(bytes(8), 0x1234, 1, 8000, 8), "in format 0x1234"),
    "12-bits-packed": (riff(bytes(8), 1, 1, 8000, 12, valid=12), "12 bits a sample; expected 8, 16, 24 or 32"),
    "float16": (riff(bytes(8), 3, 1, 8000, 16), "16 bits a sample; expected 32 or 64"),
    "no-channels": (riff(bytes(8), 1, 0, 8000, 16), "0 channels"),
    "no-rate": (riff(bytes(8), 1, 1, 0, 16), "at 0 Hz"),
    "nan": (riff(np.float32([0, np.nan, np.inf]).tobytes(), 3, 1, 8000, 32), "2 samples are NaN or infinite"),
}
