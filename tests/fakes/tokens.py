"""The fake model's rule: which tokens follow a prompt. No torch; a test computes what it must get with `expected`.

Tokens are letters and spaces of a byte-level vocabulary in GPT-2's order ('!' is 0, 'a' is 64, a space is 220), as in the
bundled demo model's tokenizer.
"""

from collections.abc import Sequence
from hashlib import sha256

from thespis.protocol.sampling import SamplingParams

LETTERS = tuple(range(64, 90))
SPACE = 220


def _digest(token_ids: Sequence[int], salt: int) -> bytes:
    return sha256(repr((tuple(token_ids), salt)).encode()).digest()


def length_of(prompt: Sequence[int], choice: int) -> int:
    """After so many tokens the model itself wants to end: 4 to 35."""
    return 4 + _digest(prompt, choice)[2] % 32


def next_token(
    token_ids: Sequence[int], prompt_tokens: int, choice: int, sampling: SamplingParams, eos: tuple[int, ...]
) -> int:
    """The token after `token_ids` (prompt and output so far)."""
    produced = len(token_ids) - prompt_tokens
    prompt = token_ids[:prompt_tokens]
    if eos and not sampling.ignore_eos and produced >= max(sampling.min_tokens, length_of(prompt, choice)):
        return eos[0]
    digest = _digest(token_ids, choice)
    return SPACE if digest[0] < 48 else LETTERS[digest[1] % len(LETTERS)]


def expected(prompt: Sequence[int], sampling: SamplingParams, eos: tuple[int, ...], choice: int = 0) -> list[int]:
    """The whole answer, its end token included."""
    tokens, count = list(prompt), len(prompt)
    limit = sampling.max_tokens if sampling.max_tokens is not None else 1 << 30
    while len(tokens) - count < limit:
        token = next_token(tokens, count, choice, sampling, eos)
        tokens.append(token)
        stops = token in eos and not sampling.ignore_eos
        if stops or (token in sampling.stop_token_ids and len(tokens) - count >= sampling.min_tokens):
            break
    return tokens[count:]
