"""Which files pytest leaves alone when it looks for doctests."""

from importlib.util import find_spec

# Importing it without the optional package raises the sentence that says so, see tests/test_art.py.
collect_ignore = [] if find_spec("art") else ["src/trustseg/art.py"]
