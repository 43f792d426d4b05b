"""What was found before a change, and what follows from it. Pure."""
