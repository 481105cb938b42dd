"""Settings of the documentation site; ``make docs`` builds it, offline and with warnings as errors."""

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import jupytext

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))

import site_pages

import trustseg

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent
os.environ.setdefault("TRUSTSEG_CACHE", str(ROOT / "build" / "cache"))

project = "trustseg"
author = "The trustseg developers"
copyright = "2026, the trustseg developers, Apache-2.0"
version = release = trustseg.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".py": "myst-nb"}  # summaries are written as the first
exclude_patterns = ["conf.py", "tutorials/notebooks", "results/*/tables"]
templates_path = ["_templates"]
show_warning_types = True

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# Tutorials are Python files in the percent format; they are executed, and again only when they change.
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "cache"
nb_execution_timeout = 600
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_cache_path = str(ROOT / "build" / "tutorials")
nb_merge_streams = True
nb_output_stderr = "remove"  # progress and hints of libraries, with paths of this machine

autosummary_generate = True
autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "imported-members": True, "show-inheritance": True}
python_use_unqualified_type_names = True
maximum_signature_line_length = 90
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Reference"]
napoleon_use_ivar = True

# Links into the documentation of other projects need a network: DOCS_INTERSPHINX=1 make docs
if os.environ.get("DOCS_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "polars": ("https://docs.pola.rs/api/python/stable", None),
        "torchmetrics": ("https://lightning.ai/docs/torchmetrics/stable", None),
    }

html_theme = "furo"
html_title = f"trustseg {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
copybutton_exclude = ".linenos, .gp, .go"


def _notebooks(app: "Sphinx") -> None:
    """Write each tutorial as a notebook, which its page offers for download."""
    tutorials = Path(app.srcdir) / "tutorials"
    folder = tutorials / "notebooks"
    folder.mkdir(exist_ok=True)
    for file in sorted(tutorials.glob("*.py")):
        jupytext.write(jupytext.read(file, fmt="py:percent"), folder / f"{file.stem}.ipynb")


def _fill(app: "Sphinx", page: str, source: list[str]) -> None:
    """Put lists and files into the pages that ask for them."""
    source[0] = site_pages.filled(source[0], Path(app.env.doc2path(page)))


def _tidy(app: "Sphinx", kind: str, name: str, what: object, options: object, lines: list[str]) -> None:
    """Let bars in formulas of docstrings be bars, and name the arguments that the docstring of a package describes."""
    for number, line in enumerate(lines):
        if kind == "module":
            line = re.sub(r"^:(?:param|raises) (\w+):", r":\1:", line)
        if not line.lstrip().startswith((">>>", "...")):  # |x| would be a substitution
            parts = line.split("``")
            line = "``".join(part if odd % 2 else part.replace("|", r"\|") for odd, part in enumerate(parts))
        lines[number] = line


def setup(app: "Sphinx") -> None:
    """Connect the steps of the build that are our own."""
    app.connect("autodoc-process-docstring", _tidy)
    app.connect("builder-inited", _notebooks)
    app.connect("source-read", _fill)
