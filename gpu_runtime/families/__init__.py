"""Families whose checkpoints bring code along, because transformers has no class for them: they are built here of its parts.

That code is never run, whatever `trust_remote_code` says. One file per family holds its configuration, model and processor,
under the names that the checkpoints use; importing this package makes the configurations known to transformers, so that
everything else treats them like its own.
"""

from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from . import phi3_v

CLASSES: dict[str, type] = {kind.__name__: kind for kind in phi3_v.CLASSES}
"""Models, processors and what makes features, by the names in a checkpoint's files."""

CONFIG_MAPPING.register(phi3_v.Phi3VConfig.model_type, phi3_v.Phi3VConfig, exist_ok=True)
