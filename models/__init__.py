"""Networks and their weights, host-free: the audio adapter, the reference Wan DiT and VAE, wav2vec2."""
