"""What every page and every model of the project shares."""
