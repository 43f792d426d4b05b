"""Whether the release that is serving can work on the new schema."""
