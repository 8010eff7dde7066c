"""The demo model's tokenizer: byte-level, lossless for any text, one token for each word of its
small world."""

from typing import Any, Final

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from .words import every_sentence

# The names under which Omni's processor looks these tokens up on the tokenizer.
SPECIAL_TOKENS: Final = {
    "im_start_token": "<|im_start|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
    "image_token": "<|IMAGE|>",
    "video_token": "<|VIDEO|>",
    "audio_token": "<|AUDIO|>",
}
END_OF_TURN: Final = "<|im_end|>"
PADDING: Final = "<|endoftext|>"

# ChatML as Qwen2.5-Omni writes it, but without a system turn of its own: every token costs time on
# a small model.
CHAT_TEMPLATE: Final = """\
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{% if message['content'] is string -%}
{{ message['content'] }}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] in ['image', 'image_url'] or 'image' in part or 'image_url' in part -%}
<|vision_bos|><|IMAGE|><|vision_eos|>
{%- elif part['type'] in ['video', 'video_url'] or 'video' in part or 'video_url' in part -%}
<|vision_bos|><|VIDEO|><|vision_eos|>
{%- elif part['type'] in ['audio', 'audio_url', 'input_audio'] or 'audio' in part or 'audio_url' in part -%}
<|audio_bos|><|AUDIO|><|audio_eos|>
{%- elif 'text' in part -%}
{{ part['text'] }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""  # noqa: E501


def build_tokenizer() -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,  # never reached: merging ends when every word of the corpus is one token
        min_frequency=1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(every_sentence(), trainer)
    build: Any = PreTrainedTokenizerFast  # transformers leaves its constructors untyped
    wrapped = build(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TURN,
        pad_token=PADDING,
        extra_special_tokens=dict(SPECIAL_TOKENS),
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped
