"""Real public projects, from an old release to the newest."""

import pytest

# So that a failure shows what differs, as in a test module.
pytest.register_assert_rewrite(f"{__name__}.no_false_refusal")
