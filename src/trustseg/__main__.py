"""``python -m trustseg`` is ``trustseg``."""

from trustseg.cli import main

if __name__ == "__main__":
    main()
