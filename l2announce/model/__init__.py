"""The values that cross the borders of layers: frozen, slotted, without behaviour beyond what their fields imply."""
