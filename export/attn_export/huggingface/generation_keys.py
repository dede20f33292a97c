"""Every key of transformers' GenerationConfig (5.23), and what becomes of it here. A test holds the tables against the class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

#: Keys that generation_rules.py turns into assets/generation.json.
WITH_RULE = frozenset(
    {
        *["max_length", "max_new_tokens", "min_length", "min_new_tokens"],
        *["do_sample", "temperature", "top_k", "top_p"],
        *["num_beams", "length_penalty", "early_stopping", "num_return_sequences"],
        *["repetition_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size"],
        *["bad_words_ids", "suppress_tokens", "begin_suppress_tokens"],
        *["bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"],
        *["forced_bos_token_id", "forced_eos_token_id"],
    }
)

_ASSISTED = "a faster way to the same answers, and there is no assistant in the folder"
_CACHE = "how the cache is kept, not what is in it"
_RETURNED = "what generate gives back beside the answers"
_SPEED = "how it is computed"
#: Keys that no answer depends on, and why.
WITHOUT_EFFECT: dict[str, str] = {
    **dict.fromkeys(["use_cache", "cache_config", "max_cache_len"], _CACHE),
    **dict.fromkeys(["output_attentions", "output_hidden_states", "output_scores", "output_logits"], _RETURNED),
    "return_dict_in_generate": _RETURNED,
    **dict.fromkeys(["use_mtp", "is_assistant", "num_assistant_tokens", "num_assistant_tokens_schedule"], _ASSISTED),
    **dict.fromkeys(["assistant_confidence_threshold", "assistant_early_exit", "assistant_lookbehind"], _ASSISTED),
    **dict.fromkeys(["target_lookbehind", "assistant_ensemble_weight", "speculation_type"], _ASSISTED),
    **dict.fromkeys(["prompt_lookup_num_tokens", "max_matching_ngram_size"], _ASSISTED),
    **dict.fromkeys(["compile_config", "disable_compile", "continuous_batching_config", "prefill_chunk_size"], _SPEED),
    "low_memory": _SPEED,
    "remove_invalid_values": "a NaN is an error here, never a token",
    "transformers_version": "who wrote the file",
    "_from_model_config": "where the values come from",
}

When = Literal["always", "drawing", "beams"]


@dataclass(frozen=True)
class Refusal:
    """A key that changes answers and has no rule. `neutral` are the values that change nothing, beside None; None: all but
    `only`. `when` says in which way of choosing tokens transformers reads it."""

    neutral: tuple[Any, ...] = ()
    when: When = "always"
    only: tuple[Any, ...] | None = None
    instead: str = ""

    def changes(self, value: Any, draws: bool, beams: int) -> bool:
        if (self.when == "drawing" and not draws) or (self.when == "beams" and beams == 1):
            return False
        if self.only is not None:
            return value in self.only
        # True is 1 in Python, and no number.
        same = (value is each or (type(value) is not bool and value == each) for each in self.neutral)
        return value is not None and not any(same)


REFUSED: dict[str, Refusal] = {
    "max_time": Refusal(instead="give `cancel` to generate"),
    "stop_strings": Refusal(neutral=([],), instead="give their tokens as `stop`"),
    "cache_implementation": Refusal(only=("quantized",)),
    "min_p": Refusal((0.0,), "drawing"),
    "top_h": Refusal((1.0,), "drawing"),
    "typical_p": Refusal((1.0,), "drawing"),
    "epsilon_cutoff": Refusal((0.0,), "drawing"),
    "eta_cutoff": Refusal((0.0,), "drawing"),
    "encoder_repetition_penalty": Refusal((1.0,)),
    "exponential_decay_length_penalty": Refusal(),
    "renormalize_logits": Refusal((False,), "beams"),
    "sequence_bias": Refusal(),
    "token_healing": Refusal((False,)),
    "guidance_scale": Refusal((1.0,)),
    "watermarking_config": Refusal(),
    "penalty_alpha": Refusal((0.0,)),
    "dola_layers": Refusal(),
    "diversity_penalty": Refusal((0.0,)),
    "num_beam_groups": Refusal((1,)),
    "constraints": Refusal(),
    "force_words_ids": Refusal(),
}

#: Keys of a folder's file that the class does not have and that a generate of some model reads: those of speech models.
SPEECH_WITH_RULE = frozenset(
    {"lang_to_id", "task_to_id", "language", "task", "no_timestamps_token_id", "forced_decoder_ids"}
)
SPEECH_WITHOUT_EFFECT = frozenset(
    {"is_multilingual", "alignment_heads", "median_filter_width", "max_initial_timestamp_index", "prev_sot_token_id"}
)
SPEECH_REFUSED: dict[str, Refusal] = {
    "return_timestamps": Refusal((False,)),
    "no_speech_threshold": Refusal(),
    "logprob_threshold": Refusal(),
    "compression_ratio_threshold": Refusal(),
    "condition_on_prev_tokens": Refusal((False,)),
    "prompt_condition_type": Refusal(("first-segment",)),
}
