"""Stand-in for torchaudio where no build fits the installed torch: it resamples, no more."""

from absent import stand_in

__version__ = "0.0"
__getattr__ = stand_in(__name__)

from . import functional, transforms  # noqa: F401  (reached as attributes)
