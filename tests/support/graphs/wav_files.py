"""WAV files by hand, so that the readers are not held against their own writer: good ones, and what must be refused."""

from __future__ import annotations

import struct

import numpy as np


def riff(
    samples: bytes, tag: int, channels: int, rate: int, bits: int, *, extensible: bool = False, before=b""
) -> bytes:
    """A WAV file by hand, so that the reader is not held against its own writer."""
    block = channels * bits // 8
    header = struct.pack("<HHIIHH", 0xFFFE if extensible else tag, channels, rate, rate * block, block, bits)
    if extensible:
        guid = struct.pack("<H", tag) + bytes.fromhex("000000001000800000aa00389b71")
        header += struct.pack("<HHI", 22, bits, 3) + guid
    chunks = b"fmt " + struct.pack("<I", len(header)) + header + before
    chunks += b"data" + struct.pack("<I", len(samples)) + samples + b"\0" * (len(samples) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


VALUES = np.array([0.0, 0.5, -0.5, 0.25, -1.0, 0.75])


def packed(bits: int) -> bytes:
    if bits == 8:
        return (VALUES * 128 + 128).astype(np.uint8).tobytes()
    whole = (VALUES * 2 ** (bits - 1)).astype("<i8")
    return b"".join(int(v).to_bytes(bits // 8, "little", signed=True) for v in whole)


GOOD = riff(packed(16), 1, 1, 8000, 16)
REFUSED = {
    "empty": (b"", "the file is empty"),
    "no-wav": (b"hello, this is a text", r"expected a WAV file"),
    "mp3": (b"ID3\x04" + bytes(100), r"starts with b'ID3.*ffmpeg"),
    "rf64": (b"RF64" + GOOD[4:], "RF64"),
    "header-only": (GOOD[:12], "without its format chunk: truncated"),
    "cut-in-the-header": (GOOD[:30], "truncated: its fmt chunk has 16 bytes, 10 are there"),
    "no-data": (GOOD[:36], "without its data chunk"),
    "cut-in-the-samples": (GOOD[:-3], "truncated: its data chunk has 12 bytes, 9 are there"),
    "no-samples": (riff(b"", 1, 1, 8000, 16), "holds no samples"),
    "half-a-frame": (riff(packed(16)[:10], 1, 2, 8000, 16), "no whole number of frames"),
    "mu-law": (riff(bytes(8), 7, 1, 8000, 8), "is mu-law; expected PCM or float"),
    "adpcm": (riff(bytes(8), 2, 1, 8000, 8), "is ADPCM"),
    "odd-format": (riff(bytes(8), 0x1234, 1, 8000, 8), "in format 0x1234"),
    "12-bits": (riff(bytes(8), 1, 1, 8000, 12), "12 bits a sample; expected 8, 16, 24 or 32"),
    "float16": (riff(bytes(8), 3, 1, 8000, 16), "16 bits a sample; expected 32 or 64"),
    "no-channels": (riff(bytes(8), 1, 0, 8000, 16), "0 channels"),
    "no-rate": (riff(bytes(8), 1, 1, 0, 16), "at 0 Hz"),
    "nan": (riff(np.float32([0, np.nan, np.inf]).tobytes(), 3, 1, 8000, 32), "2 samples are NaN or infinite"),
}
