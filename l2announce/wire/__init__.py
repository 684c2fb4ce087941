"""Octets to values and back: frames, filters, messages. Pure; a stranger's octets give a value or DecodeError, never another exception."""
