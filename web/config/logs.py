"""One line of JSON for each log record."""

import json
import logging
from datetime import datetime, timezone
from typing import Any

from django.http import HttpRequest

# What every record carries: the rest of its attributes came in by `extra` and is worth printing.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Format a record as a JSON object on one line: time (UTC), level, logger, message, extras.

    The output is ASCII with every line break escaped, so nothing that a client sends can break
    a line or forge one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for `record`, without a line end."""
        entry = _extras(record)
        when = datetime.fromtimestamp(record.created, tz=timezone.utc)
        entry["time"] = when.isoformat(timespec="milliseconds")
        entry["level"] = record.levelname
        entry["logger"] = record.name
        entry["message"] = record.getMessage()
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            entry["stack"] = self.formatStack(record.stack_info)
        return json.dumps(entry, default=str)


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    """Return what the caller passed as `extra`; of a request only its method and path.

    The query string stays out: it is where passwords and tokens end up.
    """
    extras = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    request = extras.get("request")
    if isinstance(request, HttpRequest):
        del extras["request"]
        extras |= {"method": request.method, "path": request.path}
    return extras
