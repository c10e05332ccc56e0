"""Stand-in for torchvision where no build fits the installed torch."""

from absent import stand_in

__version__ = "0.0"
__getattr__ = stand_in(__name__)

from . import models, ops, transforms  # noqa: F401  (reached as attributes)
