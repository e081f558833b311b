"""Sphinx settings: sphinx-build -W docs docs/_build"""

import importlib.metadata

project = "Flask-AbpJobs"
copyright = "2026 Flask-AbpJobs contributors"
author = "Flask-AbpJobs contributors"
version = release = importlib.metadata.version("Flask-AbpJobs")

extensions = ["sphinx.ext.autodoc", "pallets_sphinx_themes"]
exclude_patterns = ["_build"]
default_role = "code"
nitpicky = True
# Names of other projects: their inventories are on the network, and the build needs none.
nitpick_ignore_regex = [(r"py:.*", r"(?!flask_abpjobs).*")]
# Type variables, and types that only the package itself makes.
nitpick_ignore_regex += [
    (r"py:.*", r"flask_abpjobs\.\w+\.[PRC]"),
    (r"py:.*", r"flask_abpjobs\.jobs\.(Args|JobDefinition|JobOptions)"),
    (
        r"py:.*",
        r"flask_abpjobs\.(extension\._JobDecorator|recurring\.api\._Declare|storage\.sqlite\.verbs\.SqliteJobStorage)",
    ),
]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
toc_object_entries = False

html_theme = "flask"
html_title = f"Flask-AbpJobs {version}"
html_show_sourcelink = False
html_copy_source = False
