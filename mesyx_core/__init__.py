"""Mesyx core: seals messages on arrival, replicates them between one person's nodes, serves that person's programs."""
