#!/usr/bin/env bash
# One library, four versions of Unicode: what is a letter, a mark or a lower-case letter depends on the part that is asked.
#
# Library: tokenizers 0.23.3, x86-64 Linux.
# Guess: patterns, normal forms, lower case and BertNormalizer know the same characters; \w and [\w] match the same.
# Seen: U+10D70 (Garay, Unicode 16) is a letter to patterns. U+07FD is a mark since Unicode 11: NFD-like StripAccents,
# of Unicode 9, keeps it, while \p{M} matches it. BertNormalizer, of Unicode 8, keeps U+1DF6 (a mark since 10) that
# patterns know. \w takes numbers such as ½ and ², and [\w] does not.
# Output:
#     U+07FD  \p{M} matches      StripAccents keeps it     BertNormalizer keeps it
#     U+1DF6  \p{M} matches      StripAccents keeps it     BertNormalizer keeps it
#     U+0301  \p{M} matches      StripAccents drops it     BertNormalizer drops it
#     U+10D70 \p{L} matches      NFC keeps it
#     \w of ½x²  ['½', 'x', '²']
#     [\w]       ['x']

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3

PYTHONUTF8=1 "$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
from tokenizers import Regex, normalizers, pre_tokenizers


def matches(pattern, text):
    return [x for x, _ in pre_tokenizers.Split(Regex(pattern), "removed", invert=True).pre_tokenize_str(text)]


def kept(normalizer, mark):
    return "keeps it" if mark in normalizer.normalize_str("e" + mark) else "drops it"


bert = normalizers.BertNormalizer(strip_accents=True, lowercase=False)
for mark in ("\u07fd", "\u1df6", "\u0301"):
    told = "matches" if matches(r"\p{M}", mark) else "does not"
    strip = kept(normalizers.StripAccents(), mark)
    print(f"U+{ord(mark):04X}  \\p{{M}} {told}      StripAccents {strip}     BertNormalizer {kept(bert, mark)}")
letter = "\U00010d70"
told = "matches" if matches(r"\p{L}", letter) else "does not"
nfc = "keeps it" if normalizers.NFC().normalize_str(letter) == letter else "changes it"
print(f"U+{ord(letter):04X} \\p{{L}} {told}      NFC {nfc}")
print(r"\w of ½x² ", matches(r"\w", "½x²"))
print(r"[\w]      ", matches(r"[\w]", "½x²"))
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
