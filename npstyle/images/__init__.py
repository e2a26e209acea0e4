"""Files and arrays: pictures, colour, size."""
