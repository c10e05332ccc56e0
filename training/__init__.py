"""How the tiny demonstration model is made: drawn faces, made-up speech, and the training itself.

Nothing in the pack imports this package; it is run by hand and leaves weight files behind.
"""
