"""Signing in and out."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from flask_login import current_user, login_user, logout_user

from .. import accounts
from ..forms import LoginForm

pages = Blueprint("session", __name__)


@pages.get("/login")
def login() -> Any:
    """Ask who it is. ``?as=acme-clerk`` fills in one of the demo accounts."""
    if current_user.is_authenticated:
        return redirect(_next_page())
    chosen = accounts.USERS.get(request.args.get("as", ""))
    form = LoginForm(formdata=None, email=chosen.email if chosen else "")
    return _page(form, chosen=chosen)


@pages.post("/login")
def enter() -> Any:
    """Sign in."""
    form = LoginForm()
    if form.validate():
        user = accounts.find_by_password(form.email.data or "", form.password.data or "")
        if user is not None:
            login_user(user)
            return redirect(_next_page())
        form.password.errors = ["The e-mail address or the password is not right."]
    return _page(form), 422


@pages.post("/logout")
def logout() -> Any:
    """Sign out."""
    logout_user()
    return redirect(url_for("session.login"))


def _page(form: LoginForm, chosen: accounts.User | None = None) -> str:
    return render_template(
        "login.html", form=form, chosen=chosen, users=accounts.USERS.values(), password=accounts.DEMO_PASSWORD
    )


def _next_page() -> str:
    target = request.args.get("next", "")
    return target if is_own_path(target) else url_for("desk.home")


def is_own_path(target: str) -> bool:
    """Return whether an address is a path of this site: browsers read ``//x``, ``/\\x`` and ``/<tab>/x`` as hosts."""
    return (
        target.startswith("/")
        and not target.startswith("//")
        and "\\" not in target
        and all(" " < character != "\x7f" for character in target)
    )
