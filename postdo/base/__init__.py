"""What every other package uses: configuration, console, connections, locks, words."""
