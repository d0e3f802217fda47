"""From a picture's pixels to class probabilities, a label map and a score, in the picture's own pixels."""
