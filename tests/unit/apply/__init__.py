"""The tests of `postdo.apply.one_transaction`, driven below the command line."""
