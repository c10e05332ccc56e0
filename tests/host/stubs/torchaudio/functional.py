"""The one function of torchaudio that sound in a graph goes through."""

from functools import partial
from math import gcd

import torch
from absent import absent
from scipy.signal import resample_poly


def resample(waveform, orig_freq, new_freq, **_):
    """Band-limited resampling of the last axis to ``ceil(samples * new / orig)`` samples."""
    common = gcd(int(orig_freq), int(new_freq))
    up, down = int(new_freq) // common, int(orig_freq) // common
    samples = resample_poly(waveform.detach().cpu().double().numpy(), up, down, axis=-1)
    return torch.from_numpy(samples).to(waveform)


__getattr__ = partial(absent, __name__)
