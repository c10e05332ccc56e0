"""Files on the user's disks into the host's models: folders, the `auto` choice, loading."""
