"""Users who watch their notifications, and somebody who sends them."""
