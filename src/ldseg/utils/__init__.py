"""Utilities for all packages: devices, processes, serialization, memory."""
