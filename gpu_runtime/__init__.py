"""Any model of transformers: its facts, weights, towers, decoder and processor."""

from .quick_imports import install

install()
