"""The tests of `postdo.applying.apply`, driven below the command line."""
