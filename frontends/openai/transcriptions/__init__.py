"""/v1/audio/transcriptions and /v1/audio/translations: the text of a sound, piece by piece."""
