"""Measure this kit's production stack beside a plain tutorial stack: `python3 -m bench`."""
