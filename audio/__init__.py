"""Voices: decoding, loudness, wav2vec2 features per frame, audio windows, speakers."""
