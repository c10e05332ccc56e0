"""EndlessTalk: talking video of any length from a portrait, a voice and Wan 2.1 weights.

Importing the package costs nothing: torch, transformers and the rest are imported at use.
"""

__version__ = "0.1.0"
