"""A file → exactly timed frames at 25 fps."""
