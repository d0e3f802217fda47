"""The panels of the dock, from top to bottom, and the parts they are made of."""
