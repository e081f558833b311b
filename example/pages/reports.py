"""Monthly sales reports."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, send_file, url_for

from flask_abpjobs import current_tenant

from .. import activity, sales
from ..forms import ReportForm
from ..jobs import draw_sales_report
from ..orders import Orders
from .frame import for_tenants, tell

pages = Blueprint("reports", __name__, url_prefix="/reports")
pages.before_request(for_tenants)


@pages.get("")
def list_reports() -> str:
    """Show the drawn reports, and the form to draw one."""
    return _page(_form())


@pages.post("")
def draw() -> Any:
    """Have a report drawn."""
    form = _form()
    if not form.validate():
        return _page(form), 422
    month = form.month.data
    tell(f"The report of {sales.month_in_words(month)} is being drawn.", draw_sales_report.enqueue(month))
    return redirect(url_for("reports.list_reports"))


@pages.get("/<month>")
def show(month: str) -> str:
    """Show a report."""
    report = _existing(month)
    return render_template("report.html", report=report, days=sales.Reports(current_tenant.id).list_days(month))


@pages.get("/<month>/<name>")
def download(month: str, name: str) -> Any:
    """Give a file of a report; with ``?download=1`` to take home."""
    report = _existing(month)
    if name not in sales.FILES:
        abort(404)
    return send_file(
        sales.Reports(current_tenant.id).path_of(report.month, name),
        mimetype=sales.FILES[name],
        as_attachment="download" in request.args,
        download_name=f"sales-{report.month}{name[name.rindex('.') :]}",
        max_age=0,
    )


def _existing(month: str) -> sales.Report:
    return sales.Reports(current_tenant.id).find(month) or abort(404)


def _form() -> ReportForm:
    months = [(month, sales.month_in_words(month)) for month in Orders(current_tenant.id).list_months()]
    return ReportForm(months)


def _page(form: ReportForm) -> str:
    tenant = current_tenant.id
    return render_template(
        "reports.html",
        form=form,
        reports=sales.Reports(tenant).list(),
        activities=activity.list_recent(tenant, name=draw_sales_report.name, limit=5),
    )
