"""The sentences of the translator as parts that share nothing, and as tokens."""

import hashlib
import itertools
from collections import Counter

import pytest
from attn_models.data.translation import text
from attn_models.data.translation.grammar import split, vocabulary
from attn_models.data.translation.words import UNKNOWN


@pytest.fixture(scope="module")
def parts():
    return text.parts()


def test_every_word_that_is_written_has_a_token_and_every_token_is_written(parts):
    known = set(vocabulary())
    trained = Counter(word for pair in parts[0] for side in pair[:2] for word in split(side))
    assert set(trained) - known == set(UNKNOWN)
    assert {word: trained[word] for word in known if trained[word] < 3} == {}
    held_out = {word for part in parts[1:] for pair in part for side in pair[:2] for word in split(side)}
    assert held_out <= set(trained)


def test_the_parts_share_no_sentence_in_whatever_spelling(parts):
    assert [len(part) for part in parts] == [len(set(part)) for part in parts]
    for one, other in itertools.combinations(parts, 2):
        for side in (0, 1):
            assert not {pair.content[side] for pair in one} & {pair.content[side] for pair in other}
            assert not {pair[side] for pair in one} & {pair[side] for pair in other}


def test_a_sentence_has_one_translation_and_occurs_once(parts):
    everything = [pair for part in parts for pair in part]
    assert len({pair.content[0] for pair in everything}) == len(everything)
    assert len(everything) > 15_000
    assert max(len(split(side)) for pair in everything for side in pair[:2]) == text.LONGEST


def test_the_example_of_the_documentation_is_held_out(parts):
    train, _, test = parts
    assert text.EXAMPLE in [pair[:2] for pair in test]
    assert not [pair for pair in train if pair.content[0] == text.EXAMPLE[0]]


def test_the_sentences_are_those_that_published_accuracies_are_of(parts):
    # Accuracies before and after a change of the data can't be compared: this must be noticed.
    lines = "\n".join("\t".join(pair[:2]) for part in parts for pair in part)
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == "48a3f30e060e11d2"


def test_decoding_gives_the_text_back(parts):
    tokenizer = text.tokenizer()
    sentences = [pair.french for pair in parts[2] if not set(split(pair.french)) & set(UNKNOWN)]
    encoded = tokenizer.encode_batch(sentences)
    assert tokenizer.decode_batch([e.ids for e in encoded]) == sentences
    for pair, one in zip(parts[2], tokenizer.encode_batch([pair.english for pair in parts[2]]), strict=True):
        assert one.tokens == [word if word not in UNKNOWN else "<unk>" for word in split(pair.english)]


def test_what_people_type():
    for typed, tokens in {
        "I am a Student.": "i am a student .",
        "I’m  a\tstudent": "i' m a student",
        "E\u0301tudiant": "étudiant",
        "Hello dog!": "<unk> dog <unk>",
        " \n ": "",
    }.items():
        assert text.tokenizer().encode(typed).tokens == tokens.split()
    assert text.tokenizer().decode([text.UNKNOWN, text.END, text.PAD], skip_special_tokens=True) == "<unk>"


def test_encoding_refuses_what_does_not_fit():
    assert text.encode(["i am a student"], 6, end=True).tolist()[0][4:] == [text.END, text.PAD]
    with pytest.raises(ValueError, match="has 4 tokens, more than 3"):
        text.encode(["i am a student"], 3)
