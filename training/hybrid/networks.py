"""A new hybrid transformer with weights from which a small budget gets somewhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...models.hybrid import HybridModel, SingleBlock
from ...models.hybrid_adapter import HybridAudioAdapter
from .sizes import ADAPTER, BASE


@torch.no_grad()
def new_hybrid() -> nn.ModuleDict:
    """Base and adapter: ``base`` predicts nothing yet, ``adapter`` adds nothing yet."""
    base, adapter = HybridModel(BASE), HybridAudioAdapter(ADAPTER)
    silent = {id(module.proj) for module in attentions(adapter)}
    for module in (*base.modules(), *adapter.modules()):
        if isinstance(module, nn.Linear) and id(module) not in silent:
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    residual = (2 * (BASE.double_blocks + BASE.single_blocks)) ** -0.5
    for block in base.double_blocks:
        for stream in ("img", "txt"):
            getattr(block, f"{stream}_attn").proj.weight.mul_(residual)
            getattr(block, f"{stream}_mlp")[2].weight.mul_(residual)
            open_modulation(getattr(block, f"{stream}_mod").lin)
    for block in base.single_blocks:
        assert isinstance(block, SingleBlock)
        block.linear2.weight.mul_(residual)
        open_modulation(block.modulation.lin)
    base.final_layer.linear.weight.zero_()
    final = base.final_layer.adaLN_modulation[1]
    assert isinstance(final, nn.Linear)
    final.weight.mul_(0.1)
    return nn.ModuleDict({"base": base, "adapter": adapter})


def attentions(adapter: HybridAudioAdapter) -> list[nn.Module]:
    """The audio cross-attentions of an adapter."""
    blocks = (*adapter.double_blocks.values(), *adapter.single_blocks.values())
    return [getattr(block, "audio_attn") for block in blocks]  # noqa: B009


def open_modulation(lin: nn.Linear) -> None:
    """Time changes little at first, and every gate of a block lets its branch through."""
    lin.weight.mul_(0.1)
    gates: Tensor = lin.bias.unflatten(0, (-1, 3, lin.in_features))
    gates[:, 2] = 1.0
