"""How the hybrid model sees the demo's VAE: as it does when it has been trained."""

from ...models.hybrid_codec import SCALE, HybridCodec, to_hybrid, to_wan

__all__ = ["SCALE", "HybridCodec", "to_hybrid", "to_wan"]
