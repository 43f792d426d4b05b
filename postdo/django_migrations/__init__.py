"""The project's migrations and their record, as Django's own loader and recorder see them."""
