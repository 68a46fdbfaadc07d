"""The photos of the demonstration, drawn by code: textures, solids, light, specimens and scenes."""
