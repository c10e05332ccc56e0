"""Where each speaker is: boxes and masks become token regions."""
