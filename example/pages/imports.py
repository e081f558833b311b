"""Importing orders from a file."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

from flask import Blueprint, redirect, render_template, send_file, url_for

from flask_abpjobs import current_tenant

from .. import activity, uploads
from ..forms import UploadForm
from ..jobs import import_orders
from ..order_file import COLUMNS, OrderFileError, count_rows
from .frame import for_tenants, tell

SAMPLE = Path(__file__).parents[1] / "sample" / "orders.csv"

pages = Blueprint("imports", __name__, url_prefix="/import")
pages.before_request(for_tenants)


@pages.get("")
def show() -> str:
    """Show the form and the latest imports."""
    return _page(UploadForm(formdata=None))


@pages.post("")
def upload() -> Any:
    """Take a file and have it imported."""
    form = UploadForm()
    if form.validate():
        try:
            return _start(form.file.data.stream, Path(form.file.data.filename).name[:100])
        except OrderFileError as error:
            form.file.errors = [str(error)]
    return _page(form), 422


@pages.post("/sample")
def import_sample() -> Any:
    """Import the sample."""
    with SAMPLE.open("rb") as stream:
        return _start(stream, SAMPLE.name)


@pages.get("/sample.csv")
def download_sample() -> Any:
    """Give the sample to take home."""
    return send_file(SAMPLE, mimetype="text/csv", as_attachment=True, download_name=SAMPLE.name)


def _start(stream: IO[bytes], filename: str) -> Any:
    tenant = current_tenant.id
    upload_id = uploads.save(tenant, stream)
    try:
        rows = count_rows(uploads.path_of(tenant, upload_id))
    except OrderFileError:
        uploads.remove(tenant, upload_id)
        raise
    tell(f"{filename} is being imported: {rows:,} rows.", import_orders.enqueue(upload_id, filename))
    return redirect(url_for("imports.show"))


def _page(form: UploadForm) -> str:
    found = activity.list_recent(current_tenant.id, name=import_orders.name, limit=5)
    return render_template("import.html", form=form, columns=COLUMNS, activities=found)
