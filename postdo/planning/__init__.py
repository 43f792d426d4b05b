"""What is known before a change, and what follows from it."""
