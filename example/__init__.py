"""Order desk, the example of Flask-AbpJobs: two tenants, orders, reports, mail, and the jobs that do the work.

``flask --app example run`` serves it at http://127.0.0.1:5000 and runs its jobs in the same process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask
from flask_wtf import CSRFProtect

from flask_abpjobs import AbpJobsAuthorizationFilter, DashboardOptions

from . import accounts, database, jobs, pages, settings
from .smtp import Mailbox


def create_app(instance_path: str | Path | None = None, config: Mapping[str, Any] | None = None) -> Flask:
    """Return the order desk.

    :param instance_path: where it keeps its files; by default ``ORDER_DESK_INSTANCE``, else ``example/instance``.
    :param config: settings that overrule those of :mod:`example.settings` and of the environment.
    """
    chosen = instance_path or os.environ.get("ORDER_DESK_INSTANCE") or Path(__file__).parent / "instance"
    app = Flask(__name__, instance_path=str(Path(chosen).resolve()))
    settings.apply(app, config or {})
    database.init_app(app)
    accounts.init_app(app)
    CSRFProtect(app)
    Mailbox(app)
    pages.init_app(app)
    jobs.jobs.init_app(
        app,
        dashboard=DashboardOptions(
            title="Order desk jobs",
            authorization=[AbpJobsAuthorizationFilter(required_permission="Jobs.Dashboard")],
            permissions={"requeue": "Jobs.Operate", "delete": "Jobs.Operate"},
        ),
    )
    return app
