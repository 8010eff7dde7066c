"""The towers of a checkpoint: features in, embeddings out. Only the towers' weights are read
here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from blake3 import blake3
from torch import nn
from torch.nn import functional as F

from ...protocol.config.roles import EncoderCacheConfig
from ...protocol.facts import ModelFacts
from ...protocol.pixels import PixelForm
from ...protocol.requests.request import MODALITIES, Modality
from ..adapter.tower_attention import attend_in_pieces
from ..adapter.towers import Towers, find_towers
from ..attention.dense import usable_dense
from ..inspection.hf import build_on_meta
from ..layers.activations import replace_activations
from ..layers.linear import Linear
from ..layers.patches import PatchProduct, replace_patch_convolutions
from ..layers.pixels import expand
from ..layers.serving import replace_linears
from ..native.library import allow_kernels
from ..weights.checkpoint import Checkpoint
from ..weights.filling import fill
from .device import prepare_device
from .encoding import Tensors


class Encoder:
    """Embeds items of one kind, together where that cannot change them."""

    def __init__(
        self,
        towers: Towers,
        width: int,
        dtype: torch.dtype,
        device: torch.device,
        pixels: Mapping[Modality, PixelForm] | None = None,
        weights: str = "",
    ) -> None:
        self._towers = towers
        self._pixels = {str(kind): form for kind, form in (pixels or {}).items()}
        self._width = width
        self._device = device
        self.dtype = dtype
        """Of the embeddings."""
        self.weights = weights
        """A digest of the towers' own; empty: nobody asked for it."""

    @torch.inference_mode()
    def encode(
        self, kind: str, items: Sequence[Tensors], rows: Sequence[int]
    ) -> list[torch.Tensor]:
        """One [rows, embed_width] of `dtype` on the CPU per item; `rows`: how many each is expected
        to have.

        Raises ValueError for a kind that has no tower and for tensors that it does not take, and
        whatever torch raises for features that do not fit; the caller then tries the items one by
        one.
        """
        encode = self._towers.encoder(kind)
        form = self._pixels.get(kind)
        placed = [{name: self._place(one[name], form, name) for name in one} for one in items]
        if len(placed) > 1 and _may_join(kind, placed):
            joined = {name: torch.cat([item[name] for item in placed]) for name in placed[0]}
            return list(torch.split(self._wide(encode, joined, sum(rows)), list(rows)))
        return [self._wide(encode, item, count) for item, count in zip(placed, rows, strict=True)]

    def _place(self, tensor: torch.Tensor, form: PixelForm | None, name: str) -> torch.Tensor:
        if form is not None and name == form.name and tensor.dtype == torch.uint8:
            return expand(tensor.to(self._device), form).to(self.dtype)
        dtype = self.dtype if tensor.is_floating_point() else None
        return tensor.to(device=self._device, dtype=dtype)

    def _wide(self, encode: Callable[..., Any], tensors: Tensors, rows: int) -> torch.Tensor:
        """[rows, embed_width]: the embedding, and beside it what further layers add, zeros where
        this kind adds nothing."""
        try:
            levels = encode(tensors, rows)
        except RuntimeError:
            if rows != 1:
                raise
            # Some models take the dimension of a single row for that of a batch of one: of a pair
            # each has its own.
            pair = {name: torch.cat([tensor, tensor]) for name, tensor in tensors.items()}
            levels = [level[:1] for level in encode(pair, 2)]
        wide = torch.cat(levels, dim=-1)
        wide = F.pad(wide, (0, max(0, self._width - wide.shape[-1])))
        return wide.to(device="cpu", dtype=self.dtype)


def _may_join(kind: str, items: Sequence[Tensors]) -> bool:
    """Items of one shape, of a kind whose towers look at each alone. Padded ones may come out
    otherwise in company, and numbers of patches count from the item's own first."""
    if kind == "audio" or any("mask" in name or "pooling" in name for name in items[0]):
        return False
    shapes = [{name: tensor.shape[1:] for name, tensor in item.items()} for item in items]
    return all(shape == shapes[0] for shape in shapes)


def encoder_of(config: EncoderCacheConfig, device: str, before_part: Callable[[], None]) -> Encoder:
    """What an encoder's process is told, on this device; see `load_encoder`."""
    with allow_kernels(config.native_kernels):
        return load_encoder(
            config.model, config.dtype, device, config.threads.alone, config.modalities,
            before_part, config.deterministic, digested=config.disk is not None,
        )  # fmt: skip


def load_encoder(
    model: ModelFacts,
    dtype: str,
    device: str,
    threads: int,
    modalities: Sequence[Modality] = MODALITIES,
    before_part: Callable[[], None] | None = None,
    deterministic: bool = False,
    digested: bool = False,
) -> Encoder:
    """Read the towers of these modalities; on a CPU `before_part` is called before every part of
    their work, on its thread. `digested`: so that `Encoder.weights` tells them from all others.

    Raises EngineError where the checkpoint does not hold them.
    """
    place = prepare_device(device, threads, deterministic)
    kind = getattr(torch, dtype)
    whole = build_on_meta(model.path, kind)
    towers = find_towers(whole, modalities)
    if towers.roots:
        checkpoint = Checkpoint(model.path, whole)
        fill(whole, towers.roots, checkpoint, kind, place, without=towers.without)
    weights = _digest(whole, towers.roots) if digested else ""  # before they are packed
    for root in towers.roots if place.type == "cpu" else ():
        tower = whole.get_submodule(root)
        replace_linears(tower)
        replace_patch_convolutions(tower)
        replace_activations(tower)
        if before_part is not None:
            _tell_parts(tower, before_part)
        attend_in_pieces(tower, before_part or (lambda: None), usable_dense())
    return Encoder(towers, model.embed_width, kind, place, model.pixels, weights)


def _digest(whole: nn.Module, roots: Sequence[str]) -> str:
    """Of every number: fine-tuning may change a projector alone, a hundredth of the weights."""
    digest = blake3(max_threads=blake3.AUTO)
    for root in roots:
        for name, tensor in sorted(whole.get_submodule(root).state_dict().items()):
            if tensor.device.type == "meta":  # a part that is not needed
                continue
            digest.update(f"{root}.{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
            plain = tensor.detach().to("cpu").contiguous().reshape(-1)
            digest.update(plain.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _tell_parts(tower: nn.Module, call: Callable[[], None]) -> None:
    """Whatever has no parts of its own may take long of a large picture; a layer is told of in its
    parts."""
    for part in tower.modules():
        is_whole = not isinstance(part, Linear) and not list(part.children())
        if is_whole or isinstance(part, PatchProduct):
            part.register_forward_pre_hook(lambda *_: call())
