"""Reading pictures, writing label maps, and writing any file whole or not at all."""
