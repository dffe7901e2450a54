"""What the pictures of a report show: images by their shares of each modality, streams from inside, elements."""
