"""The systems that deferq is measured beside, each as its own documentation sets it up."""
