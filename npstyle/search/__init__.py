"""Moving the pixels."""
