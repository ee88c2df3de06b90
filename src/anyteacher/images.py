"""Ordinary image files: finding and reading photos, writing pictures, labels and depth."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from anyteacher import pictures
from anyteacher.errors import ConfigError, DataError

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
LARGEST = 65535

_ORIENTATION = 0x0112  # EXIF's tag (CIPA DC-008, table 4), whose values from 2 on are turned
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def find_images(folder: Path) -> list[Path]:
    """All image files below a folder, in the order of their names; a file is given back alone.

    Files are chosen by their ending. Hidden files and folders are left out.

    Raises:
        DataError: when there is no such folder, or no image in it.
    """
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise DataError(f"There is no folder or image at {folder}. Check the path.")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not found:
        endings = ", ".join(sorted(SUFFIXES))
        raise DataError(f"There is no image in {folder}. Images end in {endings}.")
    return found


def read_image(path: Path) -> Float[Tensor, "3 h w"]:
    """An image file of any size and kind as RGB in [0, 1].

    Grey, palette, CMYK and 16-bit grey images become RGB; transparent parts become white; the
    orientation that a camera stored is applied; of an animation, the first frame is taken.

    Raises:
        DataError: when the file cannot be read as an image; its name is in the message.
    """
    try:
        with Image.open(path) as file:
            return _to_rgb(_upright(file))
    # A broken file makes decoders raise nearly anything: OSError, SyntaxError, struct.error, …
    except Exception as error:
        raise DataError(f"Cannot read {path} as an image: {error}") from error


def read_pixels(path: Path, *, upright: bool = True) -> UInt8[Tensor, "3 h w"]:
    """An image file as RGB in 8 bits.

    As `read_image`, but for data sets: 8 bits are four times as fast to move.

    Args:
        path: The file.
        upright: Whether the orientation that a camera stored is applied; else the pixels lie as
            they are stored.

    Raises:
        DataError: when the file cannot be read as an image; its name is in the message.
    """
    try:
        with Image.open(path) as file:
            picture = _upright(file) if upright else file
            if picture.mode.startswith("I"):
                return (_to_rgb(picture) * 255).round().to(torch.uint8)
            return _eight_bits(picture)
    except Exception as error:  # as in read_image
        raise DataError(f"Cannot read {path} as an image: {error}") from error


def read_labels(path: Path) -> UInt8[Tensor, "h w"]:
    """Class indices from 0 to 255 from a grey or palette image; of a palette, not the colours.

    Raises:
        DataError: when the file cannot be read, holds colours, or indices beyond 255.
    """
    try:
        with Image.open(path) as file:
            labels, mode = np.array(file), file.mode
    except Exception as error:  # as in read_image
        raise DataError(f"Cannot read {path} as an image: {error}") from error
    if labels.ndim != 2 or mode == "F":
        raise DataError(
            f"{path} holds no labels, but an image of mode {mode}. Labels are a grey or palette "
            "image whose values are the numbers of the classes."
        )
    if labels.min() < 0 or labels.max() > 255:
        raise DataError(
            f"{path} holds labels from {labels.min()} to {labels.max()}. They go from 0 to 255."
        )
    return torch.from_numpy(labels.astype(np.uint8))


def _upright(picture: Image.Image) -> Image.Image:
    try:
        orientation = picture.getexif().get(_ORIENTATION)
    # Of broken EXIF data nothing is known, and the pixels may be whole; those of ImageNet are.
    except Exception:
        return picture
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return picture if turn is None else picture.transpose(turn)


def _to_rgb(picture: Image.Image) -> Float[Tensor, "3 h w"]:
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow's own conversion would clip
        grey = torch.from_numpy(np.asarray(picture).astype(np.float32))
        if grey.min() < 0 or grey.max() > LARGEST:
            raise ValueError("its values are beyond 16 bits, so its white is not known")
        return (grey / LARGEST).repeat(3, 1, 1)
    return _eight_bits(picture).float().contiguous() / 255


def _eight_bits(picture: Image.Image) -> UInt8[Tensor, "3 h w"]:
    if picture.mode == "F":
        raise ValueError("its values are floating-point numbers, so its white is not known")
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        picture = Image.alpha_composite(white, layer)
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside a file, which replaces it once it is fully written.

    The folder is made where there is none. When the block raises, nothing is left behind and a
    file that was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # By chance and not by the process's number: containers that share a folder share numbers too.
    part = path.with_name(f".{path.stem}.{secrets.token_hex(8)}{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_image(picture: UInt8[Tensor, "3 h w"], path: Path) -> Path:
    """Writes a picture in the format that the file's ending says; gives the path back."""
    with replacing(path) as part:
        Image.fromarray(picture.permute(1, 2, 0).cpu().numpy()).save(part)
    return path


def write_labels(labels: Int[Tensor, "h w"], path: Path) -> Path:
    """Writes class indices from 0 to 255 as a palette PNG, whose pixel values are the indices."""
    picture = Image.fromarray(labels.to(torch.uint8).cpu().numpy())
    picture.putpalette(pictures.palette().flatten().tolist())
    with replacing(path) as part:
        picture.save(part)
    return path


def write_depth(
    depth: Float[Tensor, "1 h w"] | Float[Tensor, "h w"], path: Path, *, scale: float = 1000
) -> Path:
    """Writes depth as a 16-bit grey PNG of `scale` steps a metre: millimetres by default.

    The scale is stored in the file (text `depth_scale`). Values that are not finite and positive
    become 0, which means unknown; a known depth is never written as 0.

    Raises:
        DataError: when a depth is too far for 16 bits.
    """
    values = depth.detach().double().cpu().reshape(depth.shape[-2:])
    known = values.isfinite() & (values > 0)
    steps = torch.where(known, (values * scale).round().clamp(min=1), 0.0)
    if steps.numel() and steps.max() > LARGEST:
        raise DataError(
            f"A depth of {steps.max() / scale:.4g} m does not fit into {path}: 16 bits hold "
            f"{LARGEST / scale:.4g} m at {scale:g} steps a metre. Choose a smaller scale."
        )
    text = PngInfo()
    text.add_text("depth_scale", repr(scale))
    text.add_text("depth_unit", f"1/{scale:g} m; 0 means unknown")
    with replacing(path) as part:
        Image.fromarray(steps.numpy().astype(np.uint16)).save(part, pnginfo=text)
    return path


def read_depth(path: Path, *, scale: float | None = None) -> Float[Tensor, "1 h w"]:
    """Depth in metres from a 16-bit grey PNG, 0 where unknown.

    Args:
        path: the file.
        scale: steps a metre; left out, it is read from the file.

    Raises:
        DataError: when the file cannot be read, or is not grey.
        ConfigError: when it does not say its scale and none is given.
    """
    try:
        with Image.open(path) as file:
            steps, text, mode = np.asarray(file), file.info, file.mode
    except Exception as error:  # as in read_image
        raise DataError(f"Cannot read {path} as an image: {error}") from error
    if steps.ndim != 2 or not mode.startswith("I"):
        raise DataError(f"{path} holds no 16-bit grey image, but one of mode {mode}.")
    if scale is None:
        try:
            scale = float(text["depth_scale"])
        except (KeyError, ValueError) as error:
            # A setting is missing, once and not in every file.
            raise ConfigError(
                f"{path} does not say how many steps make a metre. Set depth_scale: 1000 for "
                "millimetres, 256 for KITTI's files."
            ) from error
    return torch.from_numpy(steps.astype(np.float64) / scale).float()[None]
