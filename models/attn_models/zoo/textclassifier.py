"""Text classification: a Transformer encoder over the words of a text, then the mean of them (or a class token).

Vaswani et al., "Attention Is All You Need" (2017), the encoder alone, in the pre-norm form and with rotary positions. Texts of
a batch differ in length: they are padded at the end, and a mask says which tokens are words. Padding changes no answer, to
the last digits of the arithmetic: no word attends to it, and it is left out of the mean.

Tensor names end in the axes they have:
    B  batch              T  tokens             K  the same T tokens, as keys and values
    D  width              H  heads              E  D/H, the size of a head (half of it, in cos and sin)
"""

from __future__ import annotations

from typing import Any

import torch
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec
from torch import Tensor, nn
from torch.nn import functional as F

from ..data import CATEGORIES, words
from ..layers import Block, rotary_angles
from ..recipe import Inputs, Recipe, Split
from ..spec import AttentionAxis, AttentionSpec, GraphSpec, ModelSpec

PAD, UNKNOWN = 0, 1
VOCABULARY = ("[PAD]", "[UNK]", *words())  # by token
MOST_TOKENS = 128
#: Added to the scores of padding. It is far below any score, and its exponential 0 in float16 and float32, but unlike
#: -inf it leaves a row of nothing but padding with numbers: an even mean of padding, which the pooling then drops.
PADDING_SCORE = -1e4


class TextClassifier(nn.Module):
    """tokens [B, T] int64, mask [B, T] bool (true at words, false at padding) -> logits [B, classes].

    `pooling` is "mean", over the words, or "class": a learned token in front of the text gathers what is asked for.
    """

    def __init__(
        self,
        classes: int = len(CATEGORIES),
        vocabulary: int = len(VOCABULARY),
        most_tokens: int = MOST_TOKENS,
        width: int = 64,
        heads: int = 4,
        depth: int = 2,
        dropout: float = 0.1,
        pooling: str = "mean",
    ) -> None:
        super().__init__()
        if heads < 1 or width % (2 * heads):
            raise UsageError(f"width {width}: expected a multiple of twice the heads, {2 * heads}")
        if pooling not in ("mean", "class"):
            raise UsageError(f'pooling "{pooling}": expected mean or class')
        self.words = nn.Embedding(vocabulary, width)
        # Small: from PyTorch's own start, at 1, a rare word takes thousands of steps to get anywhere.
        nn.init.normal_(self.words.weight, std=0.02)
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, width)) if pooling == "class" else None
        # Buffers that no checkpoint holds: they follow from the sizes.
        angles_TE = rotary_angles(most_tokens + 1, width // heads)
        self.register_buffer("cos", angles_TE.cos(), persistent=False)
        self.register_buffer("sin", angles_TE.sin(), persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, 2 * width, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x_BTD = self.words(tokens)
        mask_BT = mask
        if self.class_token is not None:
            x_BTD = torch.cat([self.class_token.expand(tokens.shape[0], -1, -1), x_BTD], dim=1)
            mask_BT = F.pad(mask, (1, 0), value=True)
        x_BTD = self.dropout(x_BTD)
        rotary = (self.get_buffer("cos")[: x_BTD.shape[1]], self.get_buffer("sin")[: x_BTD.shape[1]])
        bias_B11K = torch.where(mask_BT, 0.0, PADDING_SCORE)[:, None, None, :]
        for block in self.blocks:
            x_BTD = block(x_BTD, bias_B11K, rotary)
        x_BTD = self.norm(x_BTD)
        if self.class_token is not None:
            pooled_BD = x_BTD[:, 0]
        else:
            word_BT1 = mask_BT[..., None].to(x_BTD.dtype)
            # At least one: a row without a word gets zeros, not 0 / 0.
            pooled_BD = (x_BTD * word_BT1).sum(1) / word_BT1.sum(1).clamp(min=1)
        logits: Tensor = self.head(pooled_BD)
        return logits


def tokenizer() -> Any:
    """Words and punctuation, in lower case; the assets' tokenizer.json is this, and training uses it."""
    try:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    except ImportError as error:
        raise UsageError("texts need tokenizers; pip install tokenizers") from error
    made = Tokenizer(models.WordLevel({word: token for token, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def assets() -> dict[str, Any]:
    import json

    return {
        "labels.json": list(CATEGORIES),
        "text.json": {"input": "tokens", "mask": "mask", "pad": PAD, "unknown": UNKNOWN},
        "tokenizer.json": json.loads(tokenizer().to_str()),
    }


def encoded(said: list[str], length: int) -> tuple[Tensor, Tensor]:
    """Texts of at most `length` tokens as tokens int64 and mask bool, both [n, length]."""
    tokens = torch.full((len(said), length), PAD)
    mask = torch.zeros(len(said), length, dtype=torch.bool)
    for row, encoding in enumerate(tokenizer().encode_batch(said)):
        ids = encoding.ids
        tokens[row, : len(ids)] = torch.tensor(ids)
        mask[row, : len(ids)] = True
    return tokens, mask


def unknown_words(inputs: Inputs, generator: torch.Generator) -> Inputs:
    """Now and then a word is replaced by the token of unknown words, which training would otherwise never see.

    Padding that no text of the batch reaches is cut off: it would only cost time.
    """
    tokens, mask = inputs["tokens"], inputs["mask"]
    length = int(mask.sum(1).max())
    tokens, mask = tokens[:, :length], mask[:, :length]
    dropped = (torch.rand(tokens.shape, generator=generator) < 0.05) & mask
    return {"tokens": tokens.masked_fill(dropped, UNKNOWN), "mask": mask}


def recipe() -> Recipe:
    """How it is trained on generated headlines and product texts."""
    from ..data import headlines

    said = headlines.splits()
    parts = {}
    for part, texts in said.items():
        tokens, mask = encoded([t.text for t in texts], 64)
        parts[part] = Split({"tokens": tokens, "mask": mask}, torch.tensor([t.category for t in texts]))
    return Recipe(
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        labels=CATEGORIES,
        loss=F.cross_entropy,
        augment=unknown_words,
        measure="texts",
        epochs=8,
        batch_size=32,
        lr=3e-3,
    )


_TEXT = (Dim("batch", 1, 8, 32), Dim("length", 1, 32, MOST_TOKENS))

MODEL = ModelSpec(
    name="textclassifier",
    task="text-classification",
    summary="Transformer encoder over the words of a text, padding masked, mean pooling",
    build=TextClassifier,
    graphs=(
        GraphSpec(
            "model",
            inputs=(
                TensorSpec("tokens", "int64", _TEXT, meaning="words of the text", low=0, high=len(VOCABULARY)),
                TensorSpec("mask", "bool", _TEXT, meaning="true at words, false at padding"),
            ),
            outputs=(
                TensorSpec(
                    "logits",
                    "float32",
                    (_TEXT[0], Dim.fixed(len(CATEGORIES))),
                    meaning="score of each category",
                ),
            ),
        ),
    ),
    assets=assets,
    recipe=recipe,
    attention=(
        AttentionSpec(
            r"blocks\.\d+\.attention",
            query=AttentionAxis("tokens", of="tokens"),
            key=AttentionAxis("tokens", of="tokens"),
        ),
    ),
)
