"""The pictures of the demonstration set: textures, solids, light, habits, specimens and scenes."""
