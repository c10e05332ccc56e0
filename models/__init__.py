"""Networks and their weights, host-free: audio adapter, reference Wan DiT and VAE, wav2vec2."""
