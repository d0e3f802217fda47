"""From an image's pixels to class probabilities, a label map and a score, in the image's own pixels."""
