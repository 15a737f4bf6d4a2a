"""HTTP/1.1 server and client. Knows nothing of AWS."""
