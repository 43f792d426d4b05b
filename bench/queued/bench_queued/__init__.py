"""Tasks that note that they ran, and somebody who sends them."""
