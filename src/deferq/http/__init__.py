"""How web applications and deferq meet."""
