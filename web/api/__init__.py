"""The REST API: accounts, the OpenAPI document and a page to try it (part ``api``)."""
