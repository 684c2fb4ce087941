"""The decisions of the responder process: which frame is answered, when is announced. Pure: no socket, no clock."""
