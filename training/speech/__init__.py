"""Made-up speech for the tiny talking face, each sound with the mouth that says it.

Knows how to make voices (libespeak-ng, formants of its own) and noise, and what lips do while they
sound. It knows nothing of pictures and networks. A mouth opens with the loudness of the voice,
relative to the utterance; phonemes only modulate that: vowels open by their height, lips close for
p, b and m, they round for u and widen for i. Letters: F frames at 25 fps, n samples at 16 kHz.
"""
