"""A checkpoint's configuration and classes as transformers has them, and what a model says of
itself on meta."""
