"""An evidence pack: the files of a run that serve each item of regulatory frameworks, with their hashes.

It supports preparing documentation and claims nothing: each item is *filled*, *partly*, *user* or *n.a.*, and names the
files behind that.
"""

from trustseg.evidence.frameworks import Framework, Item, State, read_frameworks, state_of
from trustseg.evidence.pack import write_pack

__all__ = ["Framework", "Item", "State", "read_frameworks", "state_of", "write_pack"]
