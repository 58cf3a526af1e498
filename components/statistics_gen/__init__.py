"""Statistics of one span's Examples: on columns where they are small, in Beam where they are not."""
