"""The teacher: frozen, in eval mode, with preprocessing of its own."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.errors import AnyteacherError, TeacherError, did_you_mean
from anyteacher.layout import Size
from anyteacher.normalization import ImageNorm
from anyteacher.weights import fingerprint, load_weights

# The common base of every batch normalisation, the synchronised one included.
BatchNorm = nn.modules.batchnorm._BatchNorm
ChannelOrder = Literal["rgb", "bgr"]
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def _parse_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    found = getattr(torch, dtype, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        known = ["float32", "float64", "float16", "bfloat16"]
        raise TeacherError(f"A teacher has no precision '{dtype}'. {did_you_mean(dtype, known)}")
    return found


class Teacher(nn.Module):
    """A frozen model to learn from: any module, trained for any task, or for none.

    It stays in eval mode whatever `train()` is called around it, gets no gradient, keeps its own
    precision, and prepares the student's images for itself: resized to `size`, and taken from the
    student's normalisation to its own in one affine step. Copies share the one frozen model.

    Args:
        model: Any module that takes images (B, C, H, W) as its first argument.
        weights: A checkpoint to load into it (safetensors, or a torch file of tensors only).
        norm: The normalisation that the model was trained with; None takes images as they come.
            One-channel images become as many channels as it has numbers.
        size: Height and width that the model wants; None takes images as they come.
        dtype: The model's own precision, `torch.bfloat16` or "bfloat16"; None leaves it.
        stop_early: Whether its forward may end at the deepest tap that is needed.
        order: Of the channels that the model was trained with; "bgr" reverses the images' own, red
            first. The numbers of `norm` stay in the images' order.

    Raises:
        TeacherError: when the checkpoint is missing, damaged, of another model or holds code.

    Attributes:
        trained_at: Height and width that the model was trained at, where that is known.
        origin: Where its weights are from, in words.
        title: The model, in a word or two.
    """

    trained_at: Size | None = None
    calibrated = True  # False where random weights wait for statistics: see `calibrate`

    def __init__(
        self,
        model: nn.Module,
        *,
        weights: str | Path | None = None,
        norm: ImageNorm | None = None,
        size: Size | None = None,
        dtype: torch.dtype | str | None = None,
        stop_early: bool = True,
        order: ChannelOrder = "rgb",
    ) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise TeacherError(f"A teacher is made from a torch module, got a {type(model)}.")
        if isinstance(model, torch.jit.ScriptModule):
            raise TeacherError(
                "A module of TorchScript takes no hooks. Give its file to teachers.TorchScript."
            )
        if order not in get_args(ChannelOrder):
            known = get_args(ChannelOrder)
            raise TeacherError(f"Channels have no order '{order}'. {did_you_mean(order, known)}")
        if weights is not None:
            load_weights(model, weights)
        self.dtype = _parse_dtype(dtype)
        self.model = model.requires_grad_(False).to(dtype=self.dtype).eval()
        self.norm, self.size, self.stop_early = norm, size, stop_early
        self.order = order
        self.title = type(model).__name__
        own = "that it came with" if weights is None else f"of {weights}"
        self.origin = f"the weights {own}"
        self._fingerprint: str | None = None
        self._measured: list[str] = []
        # A tuple: walking the tree of a large model at every step would cost more than this check.
        self._modules_of_model = tuple(self.model.modules())
        self._fed: ImageNorm | None = None
        self.register_buffer("_scale", None, persistent=False)
        self.register_buffer("_shift", None, persistent=False)
        self._take(ImageNorm())
        self.train(False)

    def feed(self, images_norm: ImageNorm) -> None:
        """States, once, how the images it will be given were normalised; in [0, 1] unless told.

        Raises:
            TeacherError: when it was told, used or calibrated with another normalisation before.
        """
        if self._fed is not None and self._fed != images_norm:
            raise TeacherError(
                f"This teacher was fed images of {self._fed} before and is now to be fed "
                f"{images_norm}. Give every user of it the same images_norm (and call feed before "
                "calibrate), or wrap the model in another Teacher."
            )
        self._fed = images_norm
        self._take(images_norm)

    def _take(self, images_norm: ImageNorm) -> None:
        self._scale = self._shift = None
        if self.norm is not None and self.norm != images_norm:
            self._scale, self._shift = (t.to(self.device) for t in images_norm.to(self.norm))

    def prepare(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d i j"]:
        """The student's images as this teacher wants them.

        Raises:
            TeacherError: for images of whole numbers, or with other channels than the model has.
        """
        if not images.is_floating_point():
            raise TeacherError(
                f"A teacher needs images of a floating-point type, got {images.dtype}. Divide "
                "bytes by 255: images / 255."
            )
        if self.size is not None and images.shape[2:] != self.size:
            images = F.interpolate(images, self.size, mode="bilinear", antialias=True)
        self._check_channels(images.shape[1])
        if self._scale is not None and self._shift is not None:
            images = images * self._scale + self._shift
        if self.order == "bgr":
            images = images.flip(1)
        weights = (p.dtype for p in self.model.parameters() if p.is_floating_point())
        return images.to(next(weights, self.dtype or images.dtype))

    def _check_channels(self, given: int) -> None:
        wanted = 1 if self.norm is None else max(len(self.norm.mean), len(self.norm.std))
        if given not in (1, wanted) and wanted > 1:
            raise TeacherError(
                f"This teacher's images have {wanted} channels, by its normalisation "
                f"{self.norm}, and it is given {given}. Give it images of its own "
                "(teacher_images), or a model and a norm of as many channels."
            )
        if self.order == "bgr" and max(given, wanted) != 3:
            raise TeacherError(
                f"Only images of three channels have the order 'bgr', and these have {given}."
            )

    @contextmanager
    def explaining(self, prepared: Tensor) -> Iterator[None]:
        """Says of what the model refuses inside why that may be, and what to set.

        Args:
            prepared: The images that it is given inside.

        Raises:
            TeacherError: then.
        """
        try:
            yield
        except (AnyteacherError, torch.OutOfMemoryError):
            raise
        except (AssertionError, IndexError, RuntimeError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            convolutions = (m for m in self.model.modules() if isinstance(m, nn.Conv2d))
            wanted = next((c.in_channels for c in convolutions), prepared.shape[1])
            hint = "Set the `size` of the teacher to one that it takes."
            if self.size is not None:
                hint = (
                    f"Set another `size` of the teacher than {_times(self.size)}, or leave it out."
                )
            if wanted != prepared.shape[1]:
                hint = (
                    f"Its first convolution takes {wanted} channels, not {prepared.shape[1]}. Give "
                    "it images of its own (teacher_images), or take a model of as many channels."
                )
            raise TeacherError(
                f"{self.title} cannot take images of shape {tuple(prepared.shape)} "
                f"({type(error).__name__}: {reason}). {hint}"
            ) from error

    def precision(self, images: Tensor) -> AbstractContextManager[None]:
        """Autocast switched off where the teacher has a precision of its own."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(images.device.type, enabled=False)

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "b c h w"], **kwargs: Any) -> Any:
        """The model's own output for the student's images, without gradients."""
        self._stay_in_eval()
        with self.precision(images):
            return self.model(self.prepare(images), **kwargs)

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Float[Tensor, "_ c h w"]]) -> "Teacher":
        """Sets the running statistics of its batch normalisations from a few batches.

        A random network needs this: its untouched statistics fit no data, and its features would
        grow or vanish with depth. Every batch counts alike.

        Args:
            batches: Images as the student is fed.

        Raises:
            TeacherError: when there is no batch.
        """
        self.feed(self._fed or ImageNorm())  # the statistics hold for images of this normalisation
        self._stay_in_eval()
        norms = [m for m in self.model.modules() if isinstance(m, BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a cumulative average over the batches
            norm.train()
        count = 0
        try:
            for images in batches:
                with self.precision(images):
                    self.model(self.prepare(images.to(self.device)))
                count += 1
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
                norm.eval()
        if count == 0:
            raise TeacherError("Calibration needs at least one batch of images, got none.")
        self.calibrated = True
        names = {module: name for name, module in self.model.named_modules()}
        self._measured = [
            f"{names[norm]}.{buffer}".lstrip(".") for norm in norms for buffer in _STATISTICS
        ]
        self._fingerprint = None
        return self

    def statistics(self) -> dict[str, Tensor]:
        """What `calibrate` has set, by name; empty where it was not called."""
        state = self.model.state_dict()
        return {name: state[name] for name in self._measured if name in state}

    def restore(self, statistics: Mapping[str, Tensor]) -> None:
        """Takes statistics from a checkpoint: measured again, their last bits may differ."""
        self.model.load_state_dict(dict(statistics), strict=False)

    def described(self) -> str:
        """The model, its weights and how its images are prepared, in a line."""
        size = "of their own size" if self.size is None else f"resized to {_times(self.size)}"
        known = f" (trained at {_times(self.trained_at)})" if self.trained_at else ""
        norm = "as they come"
        if self.norm is not None:
            norm = f"normalised by mean {_listed(self.norm.mean)} and std {_listed(self.norm.std)}"
        return (
            f"{self.title}, {sum(p.numel() for p in self.model.parameters()):,} parameters with "
            f"{self.origin}; images {size}{known}, {norm}, {self.order.upper()}"
            f"{f', in {self.dtype}'.replace('torch.', '') if self.dtype else ''}"
        )

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        tensor = next(self.model.parameters(), next(self.model.buffers(), None))
        return torch.device("cpu") if tensor is None else tensor.device

    def fingerprint(self) -> str:
        """A hash of the weights, by which a resumed run knows its teacher again.

        What `calibrate` has set does not count: it depends on the machine to rounding.
        """
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self.model, without=self._measured)
        return self._fingerprint

    def train(self, mode: bool = True) -> "Teacher":
        """Stays in eval mode, whatever is asked."""
        return super().train(False)

    def _stay_in_eval(self) -> None:
        # Someone may hold the inner model and call train() on it.
        if any(module.training for module in self._modules_of_model):
            self.model.eval()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Teacher":
        return self  # frozen: an averaged copy of the student needs no second teacher


def _times(size: Size) -> str:
    return f"{size[0]} x {size[1]}"


def _listed(values: tuple[float, ...]) -> str:
    return f"({', '.join(f'{value:.4g}' for value in values)})"
