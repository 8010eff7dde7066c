"""Families whose checkpoints bring code along, because transformers has no class for them: they are
built here of its parts.

That code is never run, whatever `trust_remote_code` says. One file per family holds its
configuration, model and processor, under the names that the checkpoints use; importing this package
makes the configurations known to transformers, so that everything else treats them like its own.
"""

from transformers import AutoConfig, AutoTokenizer

from . import minicpmv, phi3_v, ultravox

CLASSES: dict[str, type] = {
    kind.__name__: kind for family in (minicpmv, phi3_v, ultravox) for kind in family.CLASSES
}
"""Models, processors and what makes features, by the names in a checkpoint's files."""

for config in (minicpmv.MiniCPMVConfig, phi3_v.Phi3VConfig, ultravox.UltravoxConfig):
    AutoConfig.register(config.model_type, config, exist_ok=True)
AutoTokenizer.register(minicpmv.MiniCPMVConfig, minicpmv.MiniCPMVTokenizerFast, exist_ok=True)
