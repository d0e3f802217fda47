"""The napari plugin: views of a session and an engine, with no logic of their own."""
