"""The picture or source video that carries identity: opening, sizing, one reference frame per chunk."""
