"""generation_config.json as rules of a bundle: every key is looked at, and what has no rule is refused by its name."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from attn_export.huggingface import generation_keys as keys
from attn_export.huggingface.generation_rules import generation_rules, language_tokens
from attn_runtime.bundle.manifest import schema
from attn_runtime.errors import UsageError
from attn_runtime.files.json_schema import find_problem

transformers = pytest.importorskip("transformers")
Rules = tuple[dict[str, Any], list[str]]


def rules(
    encoder: bool = True, vocabulary: int = 100, languages: Any = None, ignore: bool = False, **given: Any
) -> Rules:
    if encoder:
        given.setdefault("decoder_start_token_id", 2)
    config = transformers.GenerationConfig(**given)
    found, notes = generation_rules(config, SimpleNamespace(), vocabulary, encoder, languages=languages, ignore=ignore)
    names = ("encoder" if encoder else None), "first", "step"
    asset = dict(zip(("encoder", "first", "step"), names, strict=True)) | {"cache": ["key_0"], "max_length": 9} | found
    assert find_problem(json.loads(json.dumps(asset)), schema()["$defs"]["generation"], schema()) is None
    return found, notes


def test_the_tables_name_every_key_of_the_installed_version() -> None:
    """A key that a new version brings has to be looked at before it can pass."""
    tables = [keys.WITH_RULE, set(keys.WITHOUT_EFFECT), set(keys.REFUSED)]
    assert set().union(*tables) == set(vars(transformers.GenerationConfig()))
    assert sum(map(len, tables)) == len(set().union(*tables)), "each once"


def test_a_config_that_says_nothing_rules_nothing() -> None:
    assert rules(eos_token_id=3) == ({"begin": [2], "stop": [3], "pad": 3}, [])
    assert rules(False, eos_token_id=[3, 4], pad_token_id=7) == ({"begin": None, "stop": [3, 4], "pad": 7}, [])


@pytest.mark.parametrize("key", keys.REFUSED)
def test_a_key_without_a_rule_is_refused_by_its_name(key: str) -> None:
    value = {"cache_implementation": "quantized", "renormalize_logits": True, "token_healing": True}.get(key, 0.7)
    config = transformers.GenerationConfig(decoder_start_token_id=2)
    config.do_sample = keys.REFUSED[key].when == "drawing"
    config.num_beams = 4 if keys.REFUSED[key].when == "beams" else 1
    setattr(config, key, value)
    with pytest.raises(
        UsageError, match=rf"^generation_config.json: {key} = .*changes answers and has no rule here"
    ) as refused:
        generation_rules(config, SimpleNamespace(), 100, True)
    assert "\n" not in str(refused.value)
    _, notes = generation_rules(config, SimpleNamespace(), 100, True, ignore=True)
    assert any(key in note and "left out" in note for note in notes)
    for neutral in (None, *keys.REFUSED[key].neutral):
        setattr(config, key, neutral)
        assert generation_rules(config, SimpleNamespace(), 100, True)[1] == []


@pytest.mark.parametrize("given", [{"typical_p": 0.9}, {"renormalize_logits": True}, {"early_stopping": "never"}])
def test_what_is_not_read_in_a_greedy_search_is_no_reason(given: dict[str, Any]) -> None:
    assert rules(**given) == rules()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"do_sample": True, "num_beams": 4}, "do_sample = true with num_beams 4"),
        ({"early_stopping": "never", "num_beams": 2}, "early_stopping = never"),
        ({"length_penalty": -1.0, "num_beams": 2}, "length_penalty = -1.0"),
        ({"bad_words_ids": [[5], [6, 7]]}, r"bad_words_ids has 1 words of several tokens \(\[6, 7\]\)"),
        ({"forced_eos_token_id": 5, "bad_words_ids": [[5]]}, r"tokens \[5\] are forced .* and never chosen"),
        ({"decoder_start_token_id": 100}, r"decoder_start_token_id is \[100\]"),
        ({"decoder_start_token_id": [3, 4]}, r"decoder_start_token_id is \[3, 4\]; expected one token of 0\.\.99"),
    ],
)
def test_combinations_without_a_rule_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rules(**given)


def test_no_token_to_begin_with_is_told() -> None:
    with pytest.raises(UsageError, match="decoder_start_token_id is not given, nor bos_token_id"):
        generation_rules(transformers.GenerationConfig(), SimpleNamespace(), 100, True)


def test_a_summarizer_keeps_its_rules() -> None:
    """The keys of bart-large-cnn."""
    found, notes = rules(
        decoder_start_token_id=2, bos_token_id=0, eos_token_id=2, pad_token_id=1, forced_bos_token_id=0, forced_eos_token_id=2,
        num_beams=4, length_penalty=2.0, early_stopping=True, no_repeat_ngram_size=3, min_length=56, max_length=142,
    )  # fmt: skip
    assert notes == [] and found == {
        "begin": [2, 0], "begin_uncounted": 1, "stop": [2], "pad": 1, "forced_end": [2],
        "defaults": {"max_length": 142, "min_length": 56, "beams": 4, "length_penalty": 2.0, "early_stop": True}
        | {"no_repeat_ngram": 3},
    }  # fmt: skip


def test_new_tokens_are_counted_as_transformers_does() -> None:
    """A forced first token is a new one there, and part of begin here."""
    found, _ = rules(max_new_tokens=10, min_new_tokens=4, forced_bos_token_id=5)
    assert found["defaults"] == {"max_length": 11, "min_length": 5}
    found, _ = rules(False, max_new_tokens=10, min_new_tokens=4, max_length=50, min_length=7)
    assert found["defaults"] == {"max_new": 10, "min_new": 4}
    assert rules(False, max_length=50, min_length=7)[0]["defaults"] == {"max_length": 50, "min_length": 7}


def test_drawing_is_kept_with_the_default_of_top_k() -> None:
    found, _ = rules(False, do_sample=True, temperature=0.6, top_p=0.9, repetition_penalty=1.1)
    assert found["defaults"] == {"repetition_penalty": 1.1, "sample": {"temperature": 0.6, "top_k": 50, "top_p": 0.9}}
    assert rules(False, do_sample=True, top_k=0, top_p=1.0)[0]["defaults"] == {"sample": {"temperature": 1.0}}
    config = transformers.GenerationConfig(do_sample=True)
    config.temperature = 0.0
    with pytest.raises(UsageError, match="temperature 0.0 with do_sample; expected a number above 0"):
        generation_rules(config, SimpleNamespace(), 100, False)


def test_tokens_outside_the_vocabulary_are_dropped_and_told() -> None:
    found, notes = rules(False, eos_token_id=50256, pad_token_id=7, suppress_tokens=[3, 100, -1])
    assert found == {"begin": None, "stop": [], "pad": 7, "suppress": [3]}
    assert notes == [
        "generation_config.json: eos_token_id 50256 left out: the model has tokens 0..99",
        "generation_config.json: suppress_tokens 100, -1 left out: the model has tokens 0..99",
    ]


def test_bad_words_of_one_token_are_suppressed_but_for_stop_tokens() -> None:
    assert rules(bad_words_ids=[[9], [3]], eos_token_id=3)[0]["suppress"] == [9]
    assert rules(bad_words_ids=[[9]], forced_eos_token_id=[8, 9])[0]["forced_end"] == [8]
    found, notes = rules(bad_words_ids=[[9], [6, 7]], ignore=True)
    assert found["suppress"] == [9] and "words of several tokens ([6, 7]): left out" in notes[0]


def test_a_decoder_keeps_no_forced_beginning() -> None:
    found, notes = rules(False, forced_bos_token_id=5)
    assert found["begin"] is None and "forced_bos_token_id is left out" in notes[0]


def test_keys_that_nobody_reads_are_told() -> None:
    assert "max_window_size, zoo: left out" in rules(max_window_size=6144, zoo=1)[1][0]


# --- languages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("special", "found"),
    [
        ({"__de__": 5, "__fr__": 6, "</s>": 1}, {"de": 5, "fr": 6}),
        ({"deu_Latn": 5, "zho_Hans": 6}, {"deu_Latn": 5, "zho_Hans": 6}),
        ({"de_DE": 5, "fr_XX": 6, "<mask>": 3}, {"de_DE": 5, "fr_XX": 6}),
        ({"<lang:de>": 5, "<lang:fr>": 6}, {"de": 5, "fr": 6}),
        ({"__java__": 5, "__en_XX__": 6}, {"java": 5, "en_XX": 6}),
        ({"<s>": 0, "<pad>": 1, "__de__": 4}, {}),
    ],
)
def test_languages_are_found_among_the_special_tokens(special: dict[str, int], found: dict[str, int]) -> None:
    assert language_tokens(special) == found


def test_a_language_is_chosen_behind_the_first_token_or_in_its_place() -> None:
    languages = {"de": 5, "fr": 6, "xx": 100}
    found, _ = rules(languages=languages)
    assert (
        found["choices"] == {"language": {"place": 1, "tokens": {"de": 5, "fr": 6}}} and found["begin_uncounted"] == 1
    )
    found, _ = rules(languages=languages, forced_bos_token_id=6)
    assert found["begin"] == [2, 6] and found["choices"]["language"]["place"] == 1
    found, _ = rules(languages=languages, decoder_start_token_id=5)  # mBART of two languages begins with one
    assert found["begin"] == [5] and found["choices"]["language"]["place"] == 0


SPEECH = {
    "decoder_start_token_id": 50, "no_timestamps_token_id": 63, "is_multilingual": True, "return_timestamps": False,
    "lang_to_id": {"<|de|>": 51, "<|en|>": 52}, "task_to_id": {"transcribe": 59, "translate": 58}, "alignment_heads": [[1, 1]],
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "begin"),
    [
        ({}, [50, 52, 59, 63]),
        ({"language": "de"}, [50, 51, 59, 63]),
        ({"language": "<|de|>", "task": "translate"}, [50, 51, 58, 63]),
        ({"forced_decoder_ids": [[1, None], [2, 58]]}, [50, 52, 58, 63]),
        ({"forced_decoder_ids": [[1, 51], [2, 58], [3, 63]]}, [50, 51, 58, 63]),
    ],
)
def test_speech_begins_with_language_and_task(given: dict[str, Any], begin: list[int]) -> None:
    found, notes = rules(**SPEECH, **given, begin_suppress_tokens=[7, 8], max_length=40)
    assert found["begin"] == begin and found["suppress_first"] == [7, 8] and found["defaults"] == {"max_length": 44}
    assert found["choices"] == {
        "language": {"place": 1, "tokens": {"de": 51, "en": 52}},
        "task": {"place": 2, "tokens": {"transcribe": 59, "translate": 58}},
    }
    assert len(notes) == (begin[1] == 52), "a language that nobody chose is told"


def test_speech_of_one_language() -> None:
    given = {"decoder_start_token_id": 50, "no_timestamps_token_id": 63}
    found, notes = rules(**given, forced_decoder_ids=[[1, 63]])
    assert found["begin"] == [50, 63] and "choices" not in found and notes == []
    assert rules(**given)[0]["begin"] == [50, 63]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"return_timestamps": True}, "return_timestamps = True: changes answers"),
        ({"language": "fr"}, "language fr is not in lang_to_id; available: de, en"),
        ({"forced_decoder_ids": [[2, 58]]}, "leaves places out"),
        ({"no_timestamps_token_id": 101}, "answers begin with tokens"),
    ],
)
def test_speech_that_has_no_rule_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rules(**{**SPEECH, **given})


def test_a_stop_token_that_only_the_model_s_config_has_is_none_and_told() -> None:
    config = SimpleNamespace(eos_token_id=3, pad_token_id=None)
    found, notes = generation_rules(transformers.GenerationConfig(), config, 100, False)
    assert found["stop"] == [] and "generate does not take config.json's (3)" in notes[0]
