"""Pictures: files to arrays and back, colour, size, and pictures drawn by formula."""
