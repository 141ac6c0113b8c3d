"""Mail to the network: routes by MX or a smarthost, an SMTP client without a socket, outcomes, and delivery reports."""
