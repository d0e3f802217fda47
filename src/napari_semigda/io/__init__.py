"""Reading images, reading and writing label maps, and writing any file completely or not at all."""
