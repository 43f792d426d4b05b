"""The browser tests: what a person sees, in a real Chromium, of a clean clone's two modes."""
