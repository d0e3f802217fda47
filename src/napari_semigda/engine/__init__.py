"""The thread that owns the device: rounds, drafts, and the events it reports."""
