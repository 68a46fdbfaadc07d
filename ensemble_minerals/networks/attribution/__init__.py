"""Which places of a photo a network looks at when it speaks for a class."""
