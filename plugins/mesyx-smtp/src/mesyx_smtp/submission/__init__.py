"""`access` submission (RFC 6409): a person's programs log in and hand over mail to be sent."""
