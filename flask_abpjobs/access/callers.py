"""On whose behalf the current code enqueues a job."""

from __future__ import annotations

from flask import has_request_context, request

from ..context import current_tenant, find_current_job
from ..manager import Caller
from .users import find_user, name_of

CORRELATION_HEADERS = ("X-Correlation-ID", "X-Request-ID")


def find_caller() -> Caller:
    """Return tenant, user and correlation id of the running job, of this request, or of nobody.

    A job that is enqueued by a job is of the same tenant, user and correlation id. The correlation id of a request is
    taken from a header: it names things, and decides nothing.
    """
    job = find_current_job()
    if job is not None:
        return Caller(tenant_id=current_tenant.id, user_id=job.enqueued_by, correlation_id=job.correlation_id)
    if not has_request_context():
        return Caller(tenant_id=current_tenant.id)
    user = find_user()
    return Caller(
        tenant_id=current_tenant.id,
        user_id=None if user is None else name_of(user),
        correlation_id=_correlation_id(),
    )


def _correlation_id() -> str | None:
    for header in CORRELATION_HEADERS:
        value = request.headers.get(header, "")
        if 0 < len(value) <= 128 and value.isascii() and value.isprintable():
            return value
    return None
