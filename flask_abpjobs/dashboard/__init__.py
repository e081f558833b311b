"""The dashboard: a blueprint of server-rendered pages over the storage."""

from .blueprint import create_blueprint
from .options import DashboardOptions
from .services import DashboardServices, JobActions

__all__ = ["DashboardOptions", "DashboardServices", "JobActions", "create_blueprint"]
