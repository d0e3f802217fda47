"""The thread that owns the device: rounds and drafts, and what it tells while it works."""
