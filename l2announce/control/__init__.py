"""The decisions of the control process: who should announce what, who may. Pure: no I/O, no clock."""
