-- The backup is restored completely: from now on it has the name that people use.
ALTER DATABASE restoring RENAME TO restored;
