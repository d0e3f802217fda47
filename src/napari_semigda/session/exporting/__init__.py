"""What leaves a session, and in which files: formats, names, objects, and the record of what was written."""
