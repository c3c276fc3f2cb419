"""The process that runs functions: see "Processes" and "Frames" in ARCHITECTURE.md."""
