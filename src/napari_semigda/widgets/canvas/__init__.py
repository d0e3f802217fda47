"""What napari shows of an image of the session, and what is drawn on it."""
