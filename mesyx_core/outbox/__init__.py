"""Messages on their way out, on a gateway: requests followed in the logs, the queue, attempts, receipts, and the
recipients of the day that all of it is sealed to. Holds references and state, never text or addresses."""
