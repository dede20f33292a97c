#!/usr/bin/env bash
# Byte fallback (Llama's <0xE9>): an unfinished character takes whole ones along, and ends a DecodeStream.
#
# Library: tokenizers 0.23.3, x86-64 Linux.
# Guess: bytes that are no character become U+FFFD and the others stay, as with bytes.decode(errors="replace") and the
# ByteLevel decoder; DecodeStream's steps add up to that, but for what is unfinished at the end.
# Seen: a row of byte tokens is read as a whole. Where one byte of it is wrong, each of them becomes U+FFFD, those of
# whole characters too: an answer that is cut off within its second emoji loses the first. So no such character is sure
# while its row goes on; DecodeStream tells it, and raises at the next word.
# Output:
#     the bytes, then "!"     ByteLevel   ByteFallback   its DecodeStream
#     e282ac                  '€!'        '€!'           '€' '!'
#     41e9                    'A�!'       '��!'          'A' raises: Invalid prefix
#     e282ace2                '€�!'       '����!'        '€' raises: Invalid prefix
#     f09f9982f09f99          '🙂�!'       '�������!'     '🙂' raises: Invalid prefix

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3

PYTHONUTF8=1 "$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
from tokenizers import Tokenizer, decoders, models
from tokenizers.decoders import DecodeStream


def tokenizer(words, decoder):
    made = Tokenizer(models.BPE(vocab={word: token for token, word in enumerate(words)}, merges=[]))
    made.decoder = decoder
    return made


def streamed(tokens):
    stream, told = DecodeStream(), []
    try:
        for token in tokens:
            told.append(stream.step(fallback, token))
    except Exception as error:
        told.append("raises: " + " ".join(str(error).split()[:2]))
        return " ".join(repr(each) if each != told[-1] else each for each in told if each)
    return " ".join(repr(each) for each in told if each)


def row(*cells):
    print("".join(cell.ljust(width) for cell, width in zip(cells, (24, 12, 15, 0))).rstrip())


kept = [*range(33, 127), *range(161, 173), *range(174, 256)]  # as they are in byte-level BPE; the others are 256 and on
others = {byte: 256 + n for n, byte in enumerate(byte for byte in range(256) if byte not in kept)}
level = tokenizer([chr(others.get(byte, byte)) for byte in range(256)], decoders.ByteLevel())
fallback = tokenizer(
    [f"<0x{byte:02X}>" for byte in range(256)] + ["!"], decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
)
row('the bytes, then "!"', "ByteLevel", "ByteFallback", "its DecodeStream")
for data in ("€".encode(), b"A\xe9", "€".encode() + b"\xe2", "🙂🙂".encode()[:-1]):
    both = repr(level.decode([*data, ord("!")])), repr(fallback.decode([*data, 256]))
    row(data.hex(), *both, streamed([*data, 256]))
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
