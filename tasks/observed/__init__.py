"""What was seen of one host: its shapes, the look, the exchange with a server, the connection. Nothing here decides."""
