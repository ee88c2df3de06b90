"""The demonstration: `anyteacher demo`."""

from anyteacher.demo.run import run_demo

__all__ = ["run_demo"]
