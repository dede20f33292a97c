"""What a trained language model recalls of held-out stories: python scripts/story_scores.py runs/lm/model.safetensors

Answers are judged whole, every word given what stands before it. `guessing` is what somebody would get who knows all words
of the answer but one, and takes that one among those of its kind in the story so far.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict

import torch
from attn_models.data import stories
from attn_models.zoo.lm import MODEL
from safetensors.torch import load_file

COUNT, SEED = 1000, 77
KINDS = (("live ?", "where somebody lives"), ("Who", "who has a thing"), ("What", "what colour a thing is"))


def kind_of(question: list[str]) -> str:
    text = " ".join(question)
    return next((name for mark, name in KINDS if mark in text), "where a thing is")


def candidates(kind: str, words: list[str]) -> int:
    """How many different names, colours or places the words hold."""
    text = " ".join(words)
    if kind.startswith("who"):
        return len(set(words) & set(stories.PEOPLE))
    if kind.startswith("what"):
        return len(set(words) & set(stories.COLOURS))
    return sum(place in text for place in stories.PLACES)


@torch.no_grad()
def main() -> None:
    module = MODEL.build().eval()
    module.load_state_dict(load_file(sys.argv[1]), strict=True)
    told = stories.draw_stories(SEED, COUNT, held_out=True)
    tokens, mask = stories.padded([[*stories.encode(str(s)), stories.END] for s in told])
    predicted = module(tokens[:, :-1]).argmax(-1)
    same = (predicted == tokens[:, 1:]) & mask[:, 1:]
    print(f"next word: {100 * same.sum() / mask[:, 1:].sum():.1f} % of {int(mask[:, 1:].sum())} words and marks")
    right: dict[str, list[bool]] = defaultdict(list)
    guessed: dict[str, list[float]] = defaultdict(list)
    first: list[bool] = []
    for row, story in enumerate(told):
        for start, end in story.answers:
            question = re.split(r"\.", " ".join(story.words[:start]))[-1].split()
            kind = kind_of(question)
            right[kind].append(bool(same[row, start - 1 : end - 1].all()))
            guessed[kind].append(1 / candidates(kind, story.words[:start]))
            if " ".join(story.words[start:end]) not in " ".join(story.words[:start]):
                first.append(right[kind][-1])
    for kind in sorted(right):
        print(
            f"{kind}: {100 * sum(right[kind]) / len(right[kind]):.1f} % of {len(right[kind])}, "
            f"guessing {100 * sum(guessed[kind]) / len(guessed[kind]):.0f} %"
        )
    every = [answer for answers in right.values() for answer in answers]
    print(f"all questions: {100 * sum(every) / len(every):.1f} % of {len(every)}")
    print(
        f"those whose answer does not stand in the story word for word: {100 * sum(first) / len(first):.1f} % of {len(first)}"
    )


if __name__ == "__main__":
    main()
