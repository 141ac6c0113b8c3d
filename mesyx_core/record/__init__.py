"""What nodes write down and show one another, as bytes: entries, their chain, checkpoints, digests, content. Pure."""
