"""How the second demonstration model is made.

A HunyuanVideo-type transformer with MagicInfinite's audio adapter, on the VAE and the audio encoder
of the first.
"""
