"""A sample to copy from: notifications for users, by page, REST API, task and live update."""
