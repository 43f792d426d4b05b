"""Health answers, and the Content-Security-Policy header."""

import logging
from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse

from core import status

logger = logging.getLogger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponse]


class HealthMiddleware:
    """Answer /healthz and /readyz before anything else looks at the request.

    Whoever asks is a container engine or a proxy, over plain HTTP and by whatever host name it
    likes: neither the redirect to HTTPS nor ALLOWED_HOSTS may come first. Nothing that is answered
    says more than a stranger may know; the log has the rest.
    """

    def __init__(self, get_response: GetResponse) -> None:
        """Keep the next handler; the log has seen no trouble yet."""
        self.get_response = get_response
        self.last_problem = ""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a question about health, pass on everything else."""
        answers = {"/healthz": self.healthz, "/readyz": self.readyz}
        answer = answers.get(request.path_info)
        if answer is None:
            return self.get_response(request)
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        response = answer()
        response["Cache-Control"] = "no-store"
        response["Content-Length"] = str(len(response.content))  # CommonMiddleware is not reached
        return response

    def healthz(self) -> HttpResponse:
        """Is the process alive? Asks nobody else, least of all the database."""
        return JsonResponse({"status": "ok"})

    def readyz(self) -> HttpResponse:
        """Can requests be served? 200, or 503 with the reason."""
        database = status.look()
        if not database.answers:
            self.report(f"Not ready: the database does not answer. {database.problem}")
            return unavailable("database", "The database does not answer.")
        if database.pending:
            count = len(database.pending)
            noun = "migration is" if count == 1 else "migrations are"
            self.report(f"Not ready: not applied: {', '.join(database.pending)}")
            return unavailable("migrations", f"{count} {noun} not applied.")
        self.report("")
        return JsonResponse({"status": "ok"})

    def report(self, problem: str) -> None:
        """Log a change, once: a check that asks every few seconds must not fill the log."""
        if problem and problem != self.last_problem:
            logger.warning(problem)
        elif self.last_problem and not problem:
            logger.info("Ready again.")
        self.last_problem = problem


def unavailable(reason: str, detail: str) -> HttpResponse:
    """Return the answer of a site that is not ready: a word for machines, a line for people."""
    body = {"status": "unavailable", "reason": reason, "detail": detail}
    response = JsonResponse(body, status=HTTPStatus.SERVICE_UNAVAILABLE)
    # Django would log an error for each answer of 500 and above. `report` has said it, once.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


class ContentSecurityPolicyMiddleware:
    """Send settings.CONTENT_SECURITY_POLICY with every response that has no policy of its own."""

    def __init__(self, get_response: GetResponse) -> None:
        """Keep the next handler."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on, and add the header to the response."""
        response = self.get_response(request)
        # Django's debug pages are made of inline styles and scripts.
        debug_page = settings.DEBUG and response.status_code >= HTTPStatus.BAD_REQUEST
        if settings.CONTENT_SECURITY_POLICY and not debug_page:
            response.headers.setdefault("Content-Security-Policy", settings.CONTENT_SECURITY_POLICY)
        return response
