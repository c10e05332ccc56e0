"""The attention function: softmax as defined, and SageAttention only where it may run."""

import pytest
import tiny
import torch

from endless_talk.models import attention as module
from endless_talk.models.attention import attention


def test_attention_is_the_softmax_it_says():
    q, k, v = (tiny.normal(2, n, 3, 8, seed=n) for n in (5, 7, 7))
    weights = torch.einsum("bnhd,bmhd->bhnm", q, k).div(8**0.5).softmax(-1)
    expected = torch.einsum("bhnm,bmhd->bnhd", weights, v).flatten(2)
    torch.testing.assert_close(attention(q, k, v), expected, atol=1e-6, rtol=1e-5)


def test_a_quantised_kernel_is_never_used_on_a_cpu(monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("SageAttention was called for tensors on a CPU")

    monkeypatch.setattr(module, "sage_attention", lambda: forbidden)
    q = tiny.normal(1, 4, 2, 64).bfloat16()
    assert attention(q, q, q).shape == (1, 4, 128)


@pytest.mark.gpu
def test_sage_attention_agrees_with_torch():
    if module.sage_attention() is None:
        pytest.skip("sageattention is not installed")
    q, k, v = (tiny.normal(1, 256, 4, 128, seed=s).cuda().half() for s in range(3))
    torch.testing.assert_close(
        attention(q, k, v), attention(q, k, v, exact=True), atol=0.02, rtol=0.02
    )
