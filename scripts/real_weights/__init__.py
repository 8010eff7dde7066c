"""A real text model, out of a package, through the whole engine."""
