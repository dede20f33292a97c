"""PyTorch's answers are recorded whatever kinds of parameters a module holds."""

from __future__ import annotations

import pytest
import torch
from attn_export.reference import Signature, corner_cases, record_answers
from attn_runtime.spec import Dim, TensorSpec

X = (TensorSpec("x", "float32", (Dim("B", 1, 2, 4), Dim.fixed(4))),)


@pytest.mark.parametrize("layout", [torch.strided, torch.sparse_coo, torch.sparse_csr])
@pytest.mark.filterwarnings("ignore:Sparse")
def test_weights_of_any_layout(layout: torch.layout) -> None:
    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter((3 * torch.eye(4)).to_sparse(layout=layout))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.weight @ x.T).T

    answers = record_answers(Signature(Scaled().eval(), X), corner_cases(X), 0)
    assert {"min", "max", "large", "tiny"} <= {answer.name for answer in answers}
    for answer in answers:
        assert (answer.outputs["output"] == 3 * answer.inputs["x"]).all()
