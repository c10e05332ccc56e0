"""What comes out: colour, the frame sink, sound."""
