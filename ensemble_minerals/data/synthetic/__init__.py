"""The images of the demonstration set, drawn by code: textures, solids, light, specimens and scenes."""
