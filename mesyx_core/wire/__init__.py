"""What the line protocols share: bounded lines, SASL, TLS settings, limits. No sockets; plugins may import it."""
