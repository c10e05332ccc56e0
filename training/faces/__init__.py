"""Procedurally drawn talking faces, the only pictures the tiny demonstration model ever sees.

A face is an `Identity` (everything that stays) and a `Motion` (one value per frame for everything
that moves). `render` is a pure function of the two: shapes are signed distances in head units,
anti-aliased over one pixel of the wanted size, so one scene can be drawn at 64 pixels for training
and at 512 for a portrait. The package knows nothing about sound; who wants speech passes the mouth
opening in.

Head units: the origin is the middle of the face, u points right, v points down, and half the
face's height is 1. Tile units: the tile is 1 high and 1 wide, the origin is its top left corner.
"""
