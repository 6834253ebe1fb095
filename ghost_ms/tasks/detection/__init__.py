"""Object detection: classes and boxes of the objects in an image."""
