import contextlib
import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anyteacher import images, pictures
from anyteacher.errors import ConfigError, DataError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def save(path: Path, picture: Image.Image, **options) -> Path:
    picture.save(path, **options)
    return path


def expected(pixels: np.ndarray, white: float = 255.0) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(np.float64) / white).float().permute(2, 0, 1)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tif", ".PNG"])
def test_lossless_colours_are_exact(tmp_path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", Image.fromarray(PIXELS))
    read = images.read_image(path)
    assert read.dtype == torch.float32
    assert read.is_contiguous()
    torch.testing.assert_close(read, expected(PIXELS), rtol=0, atol=0)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
@pytest.mark.parametrize("size", [(1, 1), (64, 48), (33, 7)])
def test_lossy_colours_are_near(tmp_path, suffix: str, size: tuple[int, int]) -> None:
    smooth = np.linspace(50, 200, size[0] * size[1] * 3).reshape(size[1], size[0], 3)
    path = save(tmp_path / f"a{suffix}", Image.fromarray(smooth.astype(np.uint8)), quality=95)
    read = images.read_image(path)
    assert read.shape == (3, size[1], size[0])
    assert (read - expected(smooth)).abs().max() < 0.05


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "RGBA", "YCbCr"])
def test_every_mode_becomes_rgb(tmp_path, mode: str) -> None:
    picture = Image.fromarray(PIXELS).convert(mode)
    suffix = ".jpg" if mode in {"CMYK", "YCbCr"} else ".png"
    read = images.read_image(save(tmp_path / f"a{suffix}", picture))
    assert read.shape == (3, 6, 9)
    assert 0 <= read.min() < read.max() <= 1
    if suffix == ".png":  # opaque: the same as Pillow's own conversion
        by_pillow = expected(np.asarray(picture.convert("RGB")))
        torch.testing.assert_close(read, by_pillow, rtol=0, atol=0)


def test_grey_of_sixteen_bits_is_not_clipped(tmp_path) -> None:
    grey = np.array([[0, 255, 256], [1000, 40000, 65535]], dtype=np.uint16)
    for name in ("a.png", "a.tif"):
        read = images.read_image(save(tmp_path / name, Image.fromarray(grey)))
        torch.testing.assert_close(read, torch.from_numpy(grey / 65535).float().repeat(3, 1, 1))


def test_transparent_becomes_white(tmp_path) -> None:
    rgba = np.zeros((1, 3, 4), dtype=np.uint8)
    rgba[0, :, 3] = [0, 255, 51]
    read = images.read_image(save(tmp_path / "a.png", Image.fromarray(rgba)))
    torch.testing.assert_close(read[0, 0], torch.tensor([1.0, 0.0, 0.8]))
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert("P")
    read = images.read_image(save(tmp_path / "p.png", palette, transparency=0))
    assert read[:, 0, 0].tolist() == [1, 1, 1]
    assert read[:, 0, 1].max() < 0.01


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_the_camera_is_applied(tmp_path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", Image.fromarray(PIXELS), exif=exif)
    upright = {
        1: PIXELS,
        2: PIXELS[:, ::-1],
        3: PIXELS[::-1, ::-1],
        4: PIXELS[::-1],
        5: PIXELS.transpose(1, 0, 2),
        6: np.rot90(PIXELS, -1),
        7: PIXELS.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(PIXELS),
    }[orientation]
    torch.testing.assert_close(images.read_image(path), expected(upright), rtol=0, atol=0)


def test_the_first_frame_of_an_animation(tmp_path) -> None:
    frames = [Image.new("RGB", (4, 3), color) for color in ("red", "blue")]
    path = save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert images.read_image(path)[:, 0, 0].tolist() == [1, 0, 0]


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.tile(PIXELS, (4, 4, 1))).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_truncated_files_are_named(tmp_path, kind: str, share: float) -> None:
    data = encoded(kind)
    path = tmp_path / "broken photo.png"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(DataError, match=r"broken photo\.png"):
        images.read_image(path)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(data=st.data())
def test_damaged_files_are_read_or_named(tmp_path_factory, data: st.DataObject) -> None:
    """Nothing but a picture or a `DataError` comes out of a file with wrong bytes in it."""
    content = bytearray(encoded(data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF"]))))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, min(len(content) - 1, 200)))] = data.draw(
            st.integers(0, 255)
        )
    path = tmp_path_factory.mktemp("damaged") / "x.img"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        read = images.read_image(path)
        assert read.shape[0] == 3
        assert read.isfinite().all()


def test_what_has_no_known_white_is_refused(tmp_path) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(np.ones((2, 2), dtype=np.float32)))
    with pytest.raises(DataError, match=r"a\.tif.*white"):
        images.read_image(path)
    path = save(tmp_path / "b.tif", Image.fromarray(np.full((2, 2), 70000, dtype=np.int32)))
    with pytest.raises(DataError, match=r"b\.tif.*16 bits"):
        images.read_image(path)
    with pytest.raises(DataError, match="nowhere"):
        images.read_image(tmp_path / "nowhere.png")


def test_find_images(tmp_path) -> None:
    for name in ("b.jpg", "a.PNG", "sub/c.webp", "notes.txt", ".hidden.png", ".git/d.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "folder.png").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in images.find_images(tmp_path)]
    assert found == ["a.PNG", "b.jpg", "sub/c.webp"]
    assert images.find_images(tmp_path / "b.jpg") == [tmp_path / "b.jpg"]
    with pytest.raises(DataError, match=r"no folder or image at .*nowhere"):
        images.find_images(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no image in .*\.jpeg"):
        images.find_images(tmp_path / "folder.png")


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1000, 256, 100.5]))
def test_depth_round_trip(tmp_path_factory, seed: int, scale: float) -> None:
    path = tmp_path_factory.mktemp("depth") / "d.png"
    rng = np.random.default_rng(seed)
    steps = rng.integers(0, 65536, (5, 7))
    exact = torch.from_numpy(steps / scale).float()[None]
    images.write_depth(exact, path, scale=scale)
    assert torch.equal(images.read_depth(path), exact)  # what was read once stays as it is
    with Image.open(path) as picture:
        assert np.array_equal(np.asarray(picture), steps)
        assert "0 means unknown" in picture.info["depth_unit"]
    free = torch.from_numpy(rng.uniform(0.01, 60, (4, 3)))
    images.write_depth(free, path)
    assert (images.read_depth(path)[0] - free).abs().max() <= 0.5e-3 + 4e-6


def test_depth_that_is_unknown_or_tiny(tmp_path) -> None:
    depth = torch.tensor([[0.0, math.nan, math.inf, -2.0, 1e-7, 65.535]])
    path = images.write_depth(depth, tmp_path / "new" / "d.png")
    assert images.read_depth(path)[0, 0].tolist() == pytest.approx([0, 0, 0, 0, 0.001, 65.535])


def test_depth_that_does_not_fit_leaves_no_file(tmp_path) -> None:
    with pytest.raises(DataError, match=r"66 m.*65\.53 m at 1000 steps"):
        images.write_depth(torch.tensor([[66.0]]), tmp_path / "d.png")
    assert not list(tmp_path.iterdir())


def test_read_depth_asks_for_a_scale_and_for_sixteen_bits(tmp_path) -> None:
    bare = save(tmp_path / "a.png", Image.fromarray(np.full((2, 3), 512, dtype=np.uint16)))
    with pytest.raises(ConfigError, match=r"a\.png does not say .* Set depth_scale: 1000"):
        images.read_depth(bare)
    assert images.read_depth(bare, scale=256).unique().tolist() == [2]
    colors = save(tmp_path / "b.png", Image.fromarray(PIXELS))
    with pytest.raises(DataError, match=r"b\.png.*mode RGB"):
        images.read_depth(colors, scale=256)
    (tmp_path / "c.png").write_bytes(bare.read_bytes()[:40])
    with pytest.raises(DataError, match=r"c\.png"):
        images.read_depth(tmp_path / "c.png", scale=256)


def test_labels_and_pictures_round_trip(tmp_path) -> None:
    labels = torch.arange(256).reshape(8, 32)
    path = images.write_labels(labels, tmp_path / "l.png")
    with Image.open(path) as picture:
        assert np.array_equal(np.asarray(picture), labels.numpy())
    read = (images.read_image(path) * 255).round().to(torch.uint8)
    assert torch.equal(read, pictures.classes(labels[None])[0])
    path = images.write_image(read, tmp_path / "c.png")
    assert torch.equal((images.read_image(path) * 255).round().to(torch.uint8), read)


def test_replacing_keeps_the_old_file_when_writing_fails(tmp_path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted() -> None:
        with images.replacing(path) as part:
            part.write_text("half")
            assert path.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"
    with images.replacing(path) as part:
        part.write_text("new")
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "new"


def test_pixels_are_upright_or_those_that_are_stored(tmp_path) -> None:
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # a camera that was held upright
    Image.fromarray(PIXELS).save(path, exif=exif)
    pixels = images.read_pixels(path)
    assert pixels.dtype == torch.uint8
    assert torch.equal(pixels, (images.read_image(path) * 255).round().to(torch.uint8))
    assert pixels.shape == (3, 9, 6)
    stored = images.read_pixels(path, upright=False)
    assert torch.equal(stored, torch.from_numpy(PIXELS).permute(2, 0, 1))
    deep = np.full((2, 3), 65535, np.uint16)
    assert images.read_pixels(save(tmp_path / "d.png", Image.fromarray(deep), exif=exif)).shape == (
        3, 3, 2,
    )  # fmt: skip


def test_pixels_with_broken_data_of_the_camera_are_read_as_stored(tmp_path) -> None:
    for place, content in enumerate((b"", b"Exif\0\0II*\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\1")):
        path = save(tmp_path / f"{place}.png", Image.fromarray(PIXELS), exif=content)
        assert images.read_pixels(path).shape == images.read_image(path).shape == (3, 6, 9)


def test_pixels_are_those_of_the_file(tmp_path) -> None:
    lossless = save(tmp_path / "b.png", Image.fromarray(PIXELS))
    assert torch.equal(images.read_pixels(lossless), torch.from_numpy(PIXELS).permute(2, 0, 1))
    deep = np.full((2, 3), 65535, np.uint16)
    deep[0] = 257 * 40
    values = images.read_pixels(save(tmp_path / "c.png", Image.fromarray(deep)))
    assert values[:, :, 0].tolist() == [[40, 255]] * 3


def test_labels_are_the_values_of_grey_and_palette_images(tmp_path) -> None:
    labels = torch.arange(54, dtype=torch.uint8).reshape(6, 9)
    path = images.write_labels(labels, tmp_path / "palette.png")
    assert torch.equal(images.read_labels(path), labels)
    grey = save(tmp_path / "grey.png", Image.fromarray(labels.numpy()))
    assert torch.equal(images.read_labels(grey), labels)
    deep = save(tmp_path / "deep.png", Image.fromarray(labels.numpy().astype(np.uint16)))
    assert torch.equal(images.read_labels(deep), labels)


def test_what_is_no_image_of_labels_is_named(tmp_path) -> None:
    colours = save(tmp_path / "colours.png", Image.fromarray(PIXELS))
    with pytest.raises(DataError, match=r"colours.png holds no labels, but an image of mode RGB"):
        images.read_labels(colours)
    far = save(tmp_path / "far.png", Image.fromarray(np.full((2, 2), 256, np.uint16)))
    with pytest.raises(DataError, match=r"far.png holds labels from 256 to 256"):
        images.read_labels(far)
    colours.write_bytes(colours.read_bytes()[:70])
    for read in (images.read_labels, images.read_pixels):
        with pytest.raises(DataError, match=r"Cannot read .*colours.png as an image"):
            read(colours)
