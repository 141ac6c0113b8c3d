"""One contract class for each role and ability. See `mesyx_core.testing.contract` for what they share."""
