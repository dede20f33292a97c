"""How Sphinx makes the site of `make docs`: the pages as they lie in the repository, and a reference from the docstrings."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / package) for package in ("runtime", "models", "export", "docs/site")]

import attn_runtime  # noqa: E402 - found by the line above
from docstrings import as_rst  # noqa: E402

project = "attn-export"
version = release = attn_runtime.__version__
copyright = "the authors of attn-export, Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]

# The source folder is the repository itself, so that a link works here as it does on a code host.
root_doc = "docs/index"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/**/*.md",
    "findings/*.md",
    "findings/**/*.md",
    "runtime/*.md",
    "runtime/cpp/*.md",
]
exclude_patterns = ["**/.*", ".*", "build", "dist", "runs", "**/*.attn", "**/node_modules"]

# Anchors as a code host makes them.
myst_heading_anchors = 6
highlight_language = "console"
# A page that no menu names is reached by links; and a short page goes from its title to small headings.
suppress_warnings = ["toc.not_included", "myst.header"]

# The order is that of `__all__`, which is also what is public. Names come from modules when they are first asked for.
autodoc_default_options = {"members": True}
# As they are written, so that types are shown by their short names beside them.
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
# Two hyphens begin an option.
smartquotes = False
# One backtick in a command's help is code.
default_role = "code"

html_theme = "furo"
html_title = "attn-export"
html_extra_path = ["index.html"]
html_copy_source = False
# A page that is opened as a file may not read others, which is where summaries come from.
html_show_search_summary = False
html_show_sphinx = False

# The menu: caption, and pages under docs/ or, from "/" on, of the repository. A new page of a task is found by its folder.
MENU = {
    "First ten minutes": ["/README", "start/engineer", "start/robotics", "start/platform"],
    "Tasks": ["huggingface", "quantisation", "use/*", "attention/maps", "attention/fusion"],
    "C and C++": ["cpp/*"],
    "Reference": ["reference/*", "format/*", "glossary", "/CHANGELOG"],
    "How far to trust it": ["proof", "reliability", "/SECURITY", "measured/*", "parsers", "attention/survey", "survey"],
    "Change it": ["/CONTRIBUTING", "architecture", "decisions/README", "/findings/README"],
}


def setup(app):
    """Docstrings as what they are written in; errors once; links to folders, which a site has no pages for."""
    app.connect("autodoc-process-docstring", lambda app, what, name, subject, options, lines: rewrite(lines))
    app.connect("autodoc-skip-member", skip_errors_of_the_runtime)
    app.connect("source-read", link_readmes)
    app.connect("source-read", add_menu)
    for part in ("description", "options", "arguments", "epilog"):
        app.connect(f"sphinx-click-process-{part}", lambda app, context, lines: escape_stars(lines))


def rewrite(lines):
    lines[:] = as_rst(lines)


def escape_stars(lines):
    """Of `*.json` in a command's help, which is no emphasis; what sphinx-click makes bold has two."""
    lines[:] = [re.sub(r"(?<![*\\])\*(?!\*)", r"\\*", line) for line in lines]


def skip_errors_of_the_runtime(app, what, name, subject, skip, options):
    if app.env.docname == "docs/reference/python-export" and getattr(attn_runtime, name, None) is subject:
        return True
    return None


def add_menu(app, docname, source):
    """Here and not in the page, which a code host would show with it."""
    menus = {"docs/index": MENU, "docs/decisions/README": {"": ["0*"]}}.get(docname, {})
    for caption, pages in menus.items():
        source[0] += "\n".join(
            [
                "\n\n```{toctree}",
                ":hidden:",
                ":glob:",
                *([f":caption: {caption}"] if caption else []),
                "",
                *pages,
                "```",
                "",
            ]
        )


def link_readmes(app, docname, source):
    """A link to a folder goes to its README; one to a folder without is its text."""
    here = (ROOT / docname).parent

    def to_readme(link):
        text, target = link.groups()
        if not (here / target).is_dir():
            return link[0]
        return f"[{text}]({target.rstrip('/')}/README.md)" if (here / target / "README.md").exists() else text

    source[0] = re.sub(r"(?<!!)\[([^\]]+)\]\(([^)#:\s]+)\)", to_readme, source[0])
