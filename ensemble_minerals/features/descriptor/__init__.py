"""Color and texture of a photo in numbers; needs no weights."""
