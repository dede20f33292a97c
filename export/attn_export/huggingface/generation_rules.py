"""generation_config.json as keys of assets/generation.json: how answers begin, which tokens are not chosen, the defaults."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attn_runtime.errors import UsageError
from attn_runtime.escape import printable

from .generation_keys import (
    REFUSED,
    SPEECH_REFUSED,
    SPEECH_WITH_RULE,
    SPEECH_WITHOUT_EFFECT,
    WITH_RULE,
    WITHOUT_EFFECT,
    Refusal,
)

_FILE = "generation_config.json"
#: What transformers draws from where do_sample is set and top_k is not.
_TOP_K = 50
#: How multilingual models write the token of a language: __de__ (M2M100), deu_Latn (NLLB), de_DE (mBART), <lang:de> (S2T).
_LANGUAGES = (
    r"__([a-z]{2,12}(?:_[A-Z]{2})?)__",
    r"([a-z]{3}_[A-Z][a-z]{3})",
    r"([a-z]{2,3}_[A-Z]{2})",
    r"<lang:([a-z_A-Z]{2,12})>",
)


def generation_rules(
    generation_config: Any,
    text_config: Any,
    vocabulary: int,
    encoder: bool,
    *,
    languages: Mapping[str, int] | None = None,
    ignore: bool = False,
) -> tuple[dict[str, Any], list[str]]:
    """Keys for assets/generation.json (begin, stop, pad, suppress, choices, defaults, ...), and notes on what was left out.

    generation_config  transformers.GenerationConfig of the model
    text_config        the config of its decoder, for the tokens that generation_config leaves open
    vocabulary         how many tokens it chooses from; ids outside are dropped, and told
    encoder            whether it has an encoder, so that answers begin with tokens of the model's own
    languages          tokens of the languages that it writes, by name, from its tokenizer (`language_tokens`)
    ignore             tell keys that change answers and have no rule, instead of refusing them

    Raises UsageError for a key that changes answers and has no rule, by its name.
    """
    return _Reader(generation_config, text_config, vocabulary, encoder, ignore).read(languages or {})


def language_tokens(special_tokens: Mapping[str, int]) -> dict[str, int]:
    """The languages among the special tokens of a tokenizer (token -> id), by their names without decoration; empty where it does
    not have two or more of one form."""
    for form in _LANGUAGES:
        matches = [(re.fullmatch(form, token), number) for token, number in special_tokens.items()]
        found = {match[1]: number for match, number in matches if match}
        if len(found) > 1:
            return found
    return {}


class _Reader:
    def __init__(self, config: Any, text_config: Any, vocabulary: int, encoder: bool, ignore: bool) -> None:
        self.config, self.text_config, self.vocabulary, self.encoder = config, text_config, vocabulary, encoder
        self.ignore = ignore
        self.notes: list[str] = []
        self.draws = bool(config.do_sample)
        self.beams = int(config.num_beams or 1)

    def read(self, languages: Mapping[str, int]) -> tuple[dict[str, Any], list[str]]:
        self.refuse_what_has_no_rule()
        config = self.config
        stop = self.known("eos_token_id", _listed(config.eos_token_id))
        other = _listed(getattr(self.text_config, "eos_token_id", None))
        if config.eos_token_id is None and other:
            self.notes.append(
                f"{_FILE}: no eos_token_id, and generate does not take config.json's ({other[0]}): answers end when full"
            )
        pad = self.known(
            "pad_token_id", _listed(_first(config.pad_token_id, getattr(self.text_config, "pad_token_id", None)))
        )
        found: dict[str, Any] = {"begin": None, "stop": stop, "pad": (pad or stop or [0])[0]}
        start = 0  # tokens of a row before what transformers counts as new
        if self.encoder:
            begin, start = self.begin(found, languages)
            found["begin"] = begin
        elif config.forced_bos_token_id is not None:
            self.notes.append(
                f"{_FILE}: forced_bos_token_id is left out: without an encoder it is for prompts of one token alone"
            )
        suppress = [*self.known("suppress_tokens", _listed(config.suppress_tokens)), *self.bad_words(stop)]
        first = self.known("begin_suppress_tokens", _listed(config.begin_suppress_tokens))
        forced = self.known("forced_eos_token_id", _listed(config.forced_eos_token_id))
        if forced and set(forced) <= set(suppress):
            raise UsageError(
                f"{_FILE}: tokens {forced} are forced (forced_eos_token_id) and never chosen (suppress_tokens); drop one"
            )
        forced = [token for token in forced if token not in suppress]
        for key, tokens in (("suppress", suppress), ("suppress_first", first), ("forced_end", forced)):
            if tokens:
                found[key] = sorted(set(tokens))
        if config.encoder_no_repeat_ngram_size:
            found["encoder_no_repeat_ngram"] = int(config.encoder_no_repeat_ngram_size)
        if defaults := self.defaults(start, len(found["begin"] or ())):
            found["defaults"] = defaults
        return found, self.notes

    def refuse_what_has_no_rule(self) -> None:
        given = vars(self.config)
        tables: tuple[Mapping[str, Refusal], ...] = (REFUSED, SPEECH_REFUSED)
        wrong = {
            key: f"{printable(str(given[key]))}{f' ({rule.instead})' if rule.instead else ''}"
            for table in tables
            for key, rule in table.items()
            if key in given and rule.changes(given[key], self.draws, self.beams)
        }
        if self.draws and self.beams > 1:
            wrong["do_sample"] = f"true with num_beams {self.beams} (draw with one beam, or search without drawing)"
        if self.config.early_stopping not in (None, True, False) and self.beams > 1:
            wrong["early_stopping"] = f"{printable(str(self.config.early_stopping))} (true and false are known)"
        if self.beams > 1 and not 0 <= (self.config.length_penalty or 0) <= 100:
            wrong["length_penalty"] = f"{self.config.length_penalty} (0..100 is known)"
        if wrong:
            told = ", ".join(f"{key} = {value}" for key, value in wrong.items())
            if not self.ignore:
                raise UsageError(
                    f"{_FILE}: {told}: changes answers and has no rule here; take it out of the file to export without it"
                )
            self.notes.append(f"{_FILE}: {told}: left out, so that answers are not those of transformers' generate")
        known = (
            WITH_RULE
            | set(WITHOUT_EFFECT)
            | set(REFUSED)
            | SPEECH_WITH_RULE
            | SPEECH_WITHOUT_EFFECT
            | set(SPEECH_REFUSED)
        )
        other = [printable(key) for key in given if key not in known and not key.startswith("_")]
        if other:
            self.notes.append(f"{_FILE}: {', '.join(other)}: left out, transformers' generate does not read it")

    def known(self, key: str, tokens: Iterable[int]) -> list[int]:
        """Those that the model has; what is dropped is told."""
        tokens = list(tokens)
        kept = [token for token in tokens if 0 <= token < self.vocabulary]
        if dropped := [token for token in tokens if not 0 <= token < self.vocabulary]:
            told = ", ".join(map(str, dropped[:4])) + (f" and {len(dropped) - 4} more" if len(dropped) > 4 else "")
            self.notes.append(f"{_FILE}: {key} {told} left out: the model has tokens 0..{self.vocabulary - 1}")
        return kept

    def bad_words(self, stop: Sequence[int]) -> list[int]:
        """bad_words_ids of one token each, but for stop tokens, which transformers leaves out of them."""
        words = [_listed(word) for word in self.config.bad_words_ids or ()]
        if long := [word for word in words if len(word) > 1]:
            problem = f"{_FILE}: bad_words_ids has {len(long)} words of several tokens ({long[0]})"
            if not self.ignore:
                raise UsageError(
                    f"{problem}, which have no rule here; take them out of the file to export without them"
                )
            self.notes.append(f"{problem}: left out, so that answers are not those of transformers' generate")
        return self.known("bad_words_ids", (word[0] for word in words if len(word) == 1 and word[0] not in stop))

    # --- how answers begin

    def begin(self, found: dict[str, Any], languages: Mapping[str, int]) -> tuple[list[int], int]:
        """The tokens that answers begin with, and how many of them transformers counts as given. Adds choices to `found`."""
        config = self.config
        given = _first(
            config.decoder_start_token_id,
            config.bos_token_id,
            getattr(self.text_config, "decoder_start_token_id", None),
        )
        start = sorted(set(_listed(given)))
        if len(start) != 1 or not 0 <= start[0] < self.vocabulary:
            raise UsageError(
                f"{_FILE}: decoder_start_token_id is {start or 'not given, nor bos_token_id'}; expected one token of "
                f"0..{self.vocabulary - 1} that answers begin with; set it in the file"
            )
        if getattr(config, "no_timestamps_token_id", None) is not None:
            begin = self.speech_begin(start[0], found)
            return begin, len(begin)
        begin = start + self.known("forced_bos_token_id", _listed(config.forced_bos_token_id))
        named = {name: token for name, token in languages.items() if 0 <= token < self.vocabulary}
        if named:
            place = 0 if start[0] in named.values() and len(begin) == 1 else 1
            found["choices"] = {"language": {"place": place, "tokens": named}}
        if len(begin) > 1 or named:
            found["begin_uncounted"] = 1
        return begin, 1

    def speech_begin(self, start: int, found: dict[str, Any]) -> list[int]:
        """Of Whisper kinds: start, language, task, no timestamps, as generation_whisper.py's _retrieve_init_tokens has them."""
        config = self.config
        languages = _named(getattr(config, "lang_to_id", None))
        tasks = _named(getattr(config, "task_to_id", None))
        language, task = getattr(config, "language", None), getattr(config, "task", None)
        forced = (
            _first(getattr(config, "forced_decoder_ids", None), getattr(self.text_config, "forced_decoder_ids", None))
            or []
        )
        begin: list[int | None] = [start]
        if task is None and language is None:
            for place, token in forced:
                if place != len(begin):
                    raise UsageError(f"{_FILE}: forced_decoder_ids {forced} leaves places out; expected 1, 2, ...")
                begin.append(token)
        if languages:
            if language is None and (len(begin) == 1 or begin[1] is None):
                language = "en" if "en" in languages else min(languages)
                self.notes.append(
                    f"{_FILE}: no language is set, and none is detected; answers begin with {printable(language)} by default"
                )
            if language is not None:
                name = str(language).strip("<|>").lower()
                if name not in languages:
                    raise UsageError(
                        f"{_FILE}: language {printable(str(language))} is not in lang_to_id; available: {', '.join(languages)}"
                    )
                begin[1:2] = [languages[name]]
            if not any(token in tasks.values() for token in begin) and tasks:
                begin.append(tasks[str(task or "transcribe")])
            found["choices"] = {"language": {"place": 1, "tokens": languages}}
            if tasks and len(begin) > 2 and begin[2] in tasks.values():
                if task is not None:
                    begin[2] = tasks[str(task)]
                found["choices"]["task"] = {"place": 2, "tokens": tasks}
        if begin[-1] != config.no_timestamps_token_id:
            begin.append(config.no_timestamps_token_id)
        tokens = [token for token in begin if token is not None]
        if self.known("forced_decoder_ids", tokens) != tokens:
            raise UsageError(f"{_FILE}: answers begin with tokens {tokens}, and the model has 0..{self.vocabulary - 1}")
        return tokens

    # --- what is done by default

    def defaults(self, start: int, begin: int) -> dict[str, Any]:
        """`start`: how many tokens of `begin` (of the prompt, where there is no encoder) transformers does not count as new."""
        config, found = self.config, dict[str, Any]()
        most, least = config.max_length, config.min_length
        if start > 1 and most is not None:
            most += start  # Whisper's generate counts max_length behind begin (5.23, _set_max_new_tokens_and_length)
        if self.encoder:  # a row begins with `start` tokens, whatever of its answer is forced
            most = most if config.max_new_tokens is None else config.max_new_tokens + start
            least = least if config.min_new_tokens is None else config.min_new_tokens + start
        else:
            if config.max_new_tokens is not None:
                most, found["max_new"] = None, int(config.max_new_tokens)
            if config.min_new_tokens is not None:
                least, found["min_new"] = None, int(config.min_new_tokens)
        if most is not None:
            found["max_length"] = int(most)
        if least is not None and least > begin:
            found["min_length"] = int(least)
        for key, name, neutral in (
            ("num_beams", "beams", 1),
            ("length_penalty", "length_penalty", 1.0),
            ("early_stopping", "early_stop", False),
            ("repetition_penalty", "repetition_penalty", 1.0),
            ("no_repeat_ngram_size", "no_repeat_ngram", 0),
        ):
            value = getattr(config, key)
            if value is not None and value != neutral:
                found[name] = value
        if found.get("early_stop") not in (None, True):  # "never", of one beam
            del found["early_stop"]
        if not 0 <= found.get("length_penalty", 0) <= 100:
            del found["length_penalty"]
        if (config.num_return_sequences or 1) > 1:
            self.notes.append(
                f"{_FILE}: num_return_sequences {config.num_return_sequences}: one answer is given, the best"
            )
        if self.draws and self.beams == 1:
            found["sample"] = self.sample()
        return found

    def sample(self) -> dict[str, Any]:
        config = self.config
        found: dict[str, Any] = {"temperature": float(1.0 if config.temperature is None else config.temperature)}
        if found["temperature"] <= 0:
            raise UsageError(f"{_FILE}: temperature {config.temperature} with do_sample; expected a number above 0")
        top_k = _TOP_K if config.top_k is None else int(config.top_k)
        if top_k > 0:
            found["top_k"] = top_k
        if config.top_p is not None and config.top_p < 1:
            found["top_p"] = float(config.top_p)
        return found


def _listed(tokens: Any) -> list[int]:
    if tokens is None:
        return []
    return [int(token) for token in tokens] if isinstance(tokens, Iterable) else [int(tokens)]


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _named(tokens: Mapping[str, int] | None) -> dict[str, int]:
    """<|de|> -> de"""
    return {name.strip("<|>"): int(token) for name, token in (tokens or {}).items()}
