"""The processes of the program: wiring of decisions to adapters, settings, signals. Nothing is decided here."""
