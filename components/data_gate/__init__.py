"""The data gate: bad records stop the line before anything learns from them."""
