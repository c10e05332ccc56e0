"""The picture or source video that carries identity: opening, sizing, a frame per chunk."""
