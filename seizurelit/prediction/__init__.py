"""A new video to a prediction: extraction, score and spread, what must not be judged, the grounds, and pictures of them."""
