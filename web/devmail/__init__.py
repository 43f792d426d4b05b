"""Mail that development sends is caught here, and shown on a page. Not part of production."""
