"""What a model is, found once at a start: asked of its files, its classes, its processor and its
towers."""
