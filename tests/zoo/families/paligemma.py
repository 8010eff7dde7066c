"""PaliGemma (`paligemma`): a prompt's tokens see each other both ways, pictures and words alike;
what follows is causal.

The form: no template, a BOS behind the pictures and a line's end behind the words, which its
processor writes; the class turns the tokenizer's own BOS off. The text part states almost nothing,
widths of the parts are stated twice. 2 has a windowed text model, in which a prompt is seen beyond
the windows.
"""

from ..forms import special_map
from ..kinds import HALF, Animal, Json
from ..tokens import Tokens
from .gemma import CONTROL, MARKS, SIZES, named, tokenizer

PLACES = [f"<loc{place:04}>" for place in range(1024)] + [
    f"<seg{place:03}>" for place in range(128)
]
IMAGE = "<image>"
TEMPLATE = (
    "{% for message in messages %}{% if message['content'] is string %}{{ message['content'] "
    "}}{% else %}"
    "{% for part in message['content'] %}{{ '<image>' if part['type'] == 'image' else "
    "part['text'] }}{% endfor %}{% endif %}"
    "{% endfor %}"
)


def _paligemma(text: Json, generation: Json, **how: object) -> Animal:
    tokens = Tokens([*CONTROL, IMAGE], PLACES, pieces=True, leading=True, bos="<bos>")
    return Animal(
        config={
            **named(tokens),
            "_vocab_size": tokens.padded(),
            "architectures": ["PaliGemmaForConditionalGeneration"],
            "bos_token_id": tokens["<bos>"],
            "hidden_size": SIZES["hidden_size"],
            "ignore_index": -100,
            "image_token_index": tokens[IMAGE],
            "model_type": "paligemma",
            "projection_dim": SIZES["hidden_size"],
            "text_config": {
                **SIZES,
                "torch_dtype": "float32",
                "vocab_size": tokens.padded(),
                **text,
            },
            "torch_dtype": "bfloat16",
            "transformers_version": "4.42.0.dev0",
            "vision_config": {
                "hidden_size": 32,
                "image_size": 56,
                "intermediate_size": 48,
                "model_type": "siglip_vision_model",
                "num_attention_heads": 2,
                "num_hidden_layers": 2,
                "num_image_tokens": 16,
                "patch_size": 14,
                "projection_dim": SIZES["hidden_size"],
                "vision_use_head": False,
            },
        },
        model="PaliGemmaForConditionalGeneration",
        tokens=tokens,
        tokenizer=tokenizer(
            additional_special_tokens=[IMAGE], processor_class="PaliGemmaProcessor"
        ),
        files={
            "generation_config.json": {**named(tokens), **generation},
            "preprocessor_config.json": {
                "do_convert_rgb": None,
                "do_normalize": True,
                "do_rescale": True,
                "do_resize": True,
                "image_mean": HALF,
                "image_processor_type": "SiglipImageProcessor",
                "image_seq_length": 16,
                "image_std": HALF,
                "processor_class": "PaliGemmaProcessor",
                "resample": 3,
                "rescale_factor": 0.00392156862745098,
                "size": {"height": 56, "width": 56},
            },
            "special_tokens_map.json": {
                **special_map(**MARKS),
                "additional_special_tokens": [IMAGE],
            },
        },
        takes=("image",),
        template=TEMPLATE,
        frame=lambda text: f"<bos>{text}\n",
        prefix=True,
        tied_spread=0.03,
        **how,  # type: ignore[arg-type]
    )


def paligemma() -> Animal:
    """3b-mix."""
    text = {"model_type": "gemma", "num_image_tokens": 16, "num_key_value_heads": 1}
    return _paligemma(text, {}, shards=2)


def paligemma2() -> Animal:
    """2, 3b: of Gemma 2, with a window that prompts with pictures pass. Within it one is found
    again; of a longer one its windows let go of what the rest of it looks at both ways."""
    text = {
        "attn_logit_softcapping": 50.0,
        "cache_implementation": "hybrid",
        "final_logit_softcapping": 30.0,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "model_type": "gemma2",
        "num_image_tokens": 16,
        "query_pre_attn_scalar": 24,
        "sliding_window": 30,
    }
    return _paligemma(text, {"cache_implementation": "hybrid"})


ANIMALS = {"paligemma": paligemma, "paligemma2": paligemma2}
