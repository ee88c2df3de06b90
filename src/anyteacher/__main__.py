"""`python -m anyteacher` is the command `anyteacher`."""

from anyteacher.cli import script

if __name__ == "__main__":
    script()
