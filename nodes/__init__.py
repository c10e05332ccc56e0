"""The nodes: schemas in plain words, and five to twenty lines that hand over to the packages."""
