"""The version of SDK and server; ``project(VERSION)`` in CMakeLists.txt says the same (tests/unit/sdk compares
them).
"""

__version__ = "0.1.0"
