"""Which model for these data: candidates fitted alike, compared on the validation images, never on the held-out ones."""
