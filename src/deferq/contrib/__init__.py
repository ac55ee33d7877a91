"""What deferq does for other packages, one folder each. Each is loaded when its package is there and used."""
