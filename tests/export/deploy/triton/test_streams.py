"""What a generator in a Triton repository tells of its text, response by response."""

from __future__ import annotations

from pathlib import Path

from attn_export.deploy.triton import TritonOptions, deploy_triton
from support.machines import triton_server as server
from support.models.tiny_generators import Tiny, write_bundle
from support.models.tiny_texts import byte_tokenizer, texts_of


def test_pieces_are_characters_and_add_up_to_the_answer(tmp_path: Path) -> None:
    model = Tiny(layers=1, max_length=12, batch=3, encoder=False, seed=4)
    bundle = write_bundle(tmp_path / "bytes.attn", model, **texts_of(model), tokenizer=byte_tokenizer())
    deploy_triton(bundle, tmp_path / "repository", TritonOptions(name="bytes"))
    asked = [server.request(text="caf", temperature=4.0, seed=seed) for seed in range(6)]
    asked.append(server.request(text="caf", beams=2))
    asked.append(server.request(text="caf", temperature=4.0, seed=2, cancel_after=3))
    with server.python_model(tmp_path / "repository" / "bytes") as python:
        python.execute(asked)
    held = letters = 0
    for one in asked:
        *tokens, last = one.sender.responses
        pieces = [response.outputs["text"].item().decode() for response in tokens]
        answer = last.outputs["answer"].item().decode()
        assert "".join(pieces) + last.outputs["text"].item().decode() == answer
        held, letters = held + pieces.count(""), letters + len(answer)
    assert held and letters > 20
