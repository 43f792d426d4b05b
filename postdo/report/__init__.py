"""A plan for people and for machines: text, HTML and JSON, the same contents in three forms."""
