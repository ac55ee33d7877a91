"""`deferq push`: the dispatcher as an HTTP client."""
