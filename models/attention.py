"""Softmax attention behind one function, so that networks do not choose a kernel.

Torch's scaled dot product by default; SageAttention when it is installed and the tensors are half
precision on a GPU. Knows nothing of masks, text or video.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

SAGE_HEAD_DIMS = (64, 96, 128)
"""Head sizes SageAttention has kernels for."""


@functools.cache
def sage_attention() -> Callable[..., Tensor] | None:
    """SageAttention's function if the package is installed and loads, else None."""
    try:
        return importlib.import_module("sageattention").sageattn
    except (ImportError, OSError):  # OSError: built for another CUDA
        return None


def attention(q: Tensor, k: Tensor, v: Tensor, *, exact: bool = False) -> Tensor:
    """Attend every query to every key: ``softmax(q kᵀ / √d) v``.

    Args:
        q: Queries ``[B, N, heads, d]``.
        k: Keys ``[B, M, heads, d]``.
        v: Values ``[B, M, heads, d]``.
        exact: Never use a low-precision kernel. For short contexts (audio and CLIP tokens), where
            quantised kernels gain nothing and can produce NaN.

    Returns:
        ``[B, N, heads * d]`` in the dtype of ``v``.
    """
    sage = None if exact or not q.is_cuda else sage_attention()
    if sage and q.dtype in (torch.float16, torch.bfloat16) and q.shape[-1] in SAGE_HEAD_DIMS:
        out = sage(q, k, v, tensor_layout="NHD")
    else:
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
    return out.flatten(2)
