"""Small tokenizers of the kinds that models have, trained by the `tokenizers` library on texts in 24 languages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

WORDS = 2000
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DEEPSEEK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
ALPHABET = pre_tokenizers.ByteLevel.alphabet()

Texts = Sequence[str]


def _bpe(tokenizer: Tokenizer, texts: Texts, special: Sequence[str], **options: Any) -> Tokenizer:
    options = {"initial_alphabet": ALPHABET, "special_tokens": list(special), "vocab_size": WORDS} | options
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(show_progress=False, **options))
    return tokenizer


def _unigram(tokenizer: Tokenizer, texts: Texts, special: Sequence[str]) -> Tokenizer:
    trainer = trainers.UnigramTrainer(
        vocab_size=WORDS, special_tokens=list(special), unk_token="<unk>", show_progress=False, n_sub_iterations=1
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _template(tokenizer: Tokenizer, single: str, pair: str, *special: str) -> Any:
    ids = [(word, tokenizer.token_to_id(word)) for word in special]
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)


def gpt2(texts: Texts) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    made.decoder = decoders.ByteLevel()
    return _bpe(made, texts, ["<|endoftext|>"])


def qwen(texts: Texts) -> Tokenizer:
    made = Tokenizer(models.BPE(byte_fallback=False, ignore_merges=True))
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    made.decoder = decoders.ByteLevel()
    made = _bpe(made, texts, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    made.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("</tool_call>", normalized=False)])
    return made


def deepseek(texts: Texts) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.Sequence([])
    splits = [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", DEEPSEEK]
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(each), "isolated") for each in splits),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    begin, end = "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>"
    made = _bpe(made, texts, [begin, end])
    made.add_tokens([AddedToken(f"<\uff5cplace\u2581holder\u2581no\u2581{n}\uff5c>") for n in range(200)])
    made.add_tokens(
        [
            AddedToken("def", single_word=True, normalized=True),
            AddedToken("[INST]", lstrip=True, rstrip=True, normalized=False),
            AddedToken("\n\n", normalized=False),
            AddedToken("  ", normalized=True),
            AddedToken("you", rstrip=True),
        ]
    )
    made.post_processor = _template(made, f"{begin} $A", f"{begin} $A {begin}:1 $B:1", begin)
    return made


def mistral(texts: Texts) -> Tokenizer:
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    made = _bpe(made, texts, special, initial_alphabet=[], limit_alphabet=600, max_token_length=12)
    made.post_processor = _template(made, "<s> $A", "<s> $A <s>:1 $B:1", "<s>")
    value = json.loads(made.to_str())
    value["added_tokens"] = value["added_tokens"][:3]
    value["model"]["merges"] = [" ".join(merge) for merge in value["model"]["merges"]]  # as older files write them
    return Tokenizer.from_str(json.dumps(value))


def xlm_roberta(texts: Texts, charsmap: bytes | None = None) -> Tokenizer:
    """`charsmap`: of a SentencePiece model."""
    made = Tokenizer(models.Unigram())
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    first = normalizers.Precompiled(charsmap) if charsmap else normalizers.NFKC()
    made.normalizer = normalizers.Sequence([first, spaces])
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    made.decoder = decoders.Metaspace()
    made = _unigram(made, texts, ["<s>", "<pad>", "</s>", "<unk>"])
    made.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    made.post_processor = _template(made, "<s> $A </s>", "<s> $A </s> </s> $B </s>", "<s>", "</s>")
    return made


def t5(texts: Texts) -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Strip(left=False)])
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    made.decoder = decoders.Metaspace(prepend_scheme="first")
    made = _unigram(made, texts, ["<pad>", "</s>", "<unk>"])
    made.add_special_tokens([AddedToken(f"<extra_id_{n}>", lstrip=True, rstrip=True) for n in range(20)])
    made.post_processor = _template(made, "$A </s>", "$A </s> $B </s>", "</s>")
    return made


def _bert(texts: Texts, lowercase: bool) -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(cleanup=lowercase)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=WORDS, special_tokens=special, limit_alphabet=900, show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    if lowercase:
        made.post_processor = _template(made, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", "[CLS]", "[SEP]")
    else:
        made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


def bert_uncased(texts: Texts) -> Tokenizer:
    return _bert(texts, lowercase=True)


def bert_cased(texts: Texts) -> Tokenizer:
    return _bert(texts, lowercase=False)


def clip(texts: Texts) -> Tokenizer:
    made = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    made.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("</w>", " ")])
    made = _bpe(made, texts, ["<|startoftext|>", "<|endoftext|>"], end_of_word_suffix="</w>")
    made.post_processor = processors.RobertaProcessing(("<|endoftext|>", 1), ("<|startoftext|>", 0))
    return made


KINDS: dict[str, Callable[[Texts], Tokenizer]] = {
    each.__name__: each for each in (gpt2, qwen, deepseek, mistral, xlm_roberta, t5, bert_uncased, bert_cased, clip)
}


def drawn_rows(tokenizer: Tokenizer, rows: int, draw: Any) -> Iterator[list[int]]:
    """Rows of tokens in no order, some of them of no word: halves of characters, marks of spaces, special ones."""
    most = tokenizer.get_vocab_size() + 3
    for _ in range(rows):
        yield [draw.randrange(most) for _ in range(draw.randrange(12))]
