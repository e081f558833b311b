"""The desk's forms."""

from __future__ import annotations

from typing import Any

from flask_wtf import FlaskForm
from flask_wtf.file import FileAllowed, FileField, FileRequired
from wtforms import PasswordField, SelectField, StringField
from wtforms.validators import DataRequired, Length
from wtforms.widgets import PasswordInput


def marks_of(field: Any, help_id: str = "") -> dict[str, str]:
    """Return the attributes that tie a field to its help and its error.

    :param help_id: the id of the element that explains the field.
    """
    error_id = f"{field.id}-error" if field.errors else ""
    marks = {"aria_describedby": f"{error_id} {help_id}".strip()} if error_id or help_id else {}
    return marks | ({"aria_invalid": "true"} if error_id else {})


class LoginForm(FlaskForm):  # type: ignore[misc]
    """Who are you?"""

    email = StringField("E-mail", [DataRequired("Enter your e-mail address."), Length(max=200)])
    password = PasswordField(
        "Password",
        [DataRequired("Enter your password."), Length(max=200)],
        widget=PasswordInput(hide_value=False),  # the page fills in the password of a demo account
    )


class UploadForm(FlaskForm):  # type: ignore[misc]
    """A file of orders."""

    file = FileField(
        "CSV file", [FileRequired("Choose a file."), FileAllowed(["csv"], "Choose a file whose name ends in .csv.")]
    )


class ReportForm(FlaskForm):  # type: ignore[misc]
    """The month to draw."""

    month = SelectField("Month")

    def __init__(self, months: list[tuple[str, str]], **options: Any) -> None:
        super().__init__(**options)
        self.month.choices = months
