"""Settings: `base` holds what is true everywhere; `dev`, `prod` and `test` add to it."""
