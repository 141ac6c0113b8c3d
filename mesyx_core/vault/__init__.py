"""What is secret and who may say so: age files, node keys, keysets, epochs, sealing, blobs, manifests.

No I/O, no clock, and no randomness except through an argument. Formats are fixed by tests/vectors.
"""
