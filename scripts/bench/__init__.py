"""What developers measure: `scripts/dev bench NAME`. For users: `thespis bench`."""
