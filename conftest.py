"""Which files pytest leaves alone when it looks for doctests."""

from importlib.util import find_spec

# Importing it without the optional package raises the sentence that says so, see tests/art.
collect_ignore_glob = [] if find_spec("art") else ["src/trustseg/art/*.py"]
