"""Small data sets on disk, each written in the layout in which it is distributed.

Every picture is 12 x 16 (or what is said), and its left half differs from its right one.
"""

from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 12, 16


def picture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Smooth colours (h, w, 3)."""
    rows, columns = np.mgrid[:height, :width]
    ramps = [rows * 255 / height, columns * 255 / width, np.full((height, width), 20.0 * seed)]
    return np.stack(ramps, -1).astype(np.uint8)


def halves(left: int, right: int, kind: type = np.uint8) -> np.ndarray:
    """One value in the left half, another in the right one."""
    values = np.full((HEIGHT, WIDTH), left, kind)
    values[:, WIDTH // 2 :] = right
    return values


def save(path: Path, values: np.ndarray) -> Path:
    """Writes an array as an image, in a folder that is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def cityscapes(root: Path) -> Path:
    for part, count in (("train", 3), ("val", 2)):
        for i in range(count):
            stem = f"bonn/bonn_00000{i}_000019"
            save(root / "leftImg8bit" / part / f"{stem}_leftImg8bit.png", picture(i))
            labels = halves(7, 33)  # road, bicycle
            labels[0] = 1  # the own car's border
            save(root / "gtFine" / part / f"{stem}_gtFine_labelIds.png", labels)
    return root


def ade20k(root: Path) -> Path:
    for part, name, count in (("training", "train", 3), ("validation", "val", 2)):
        for i in range(1, count + 1):
            stem = f"ADE_{name}_{i:08d}"
            save(root / "images" / part / f"{stem}.jpg", picture(i))
            labels = halves(1, 150)
            labels[0] = 0
            save(root / "annotations" / part / f"{stem}.png", labels)
    return root


def coco_stuff(root: Path) -> Path:
    for part, count in (("train2017", 3), ("val2017", 2)):
        for i in range(count):
            save(root / "images" / part / f"{i:012d}.jpg", picture(i))
            labels = halves(12, 181)  # parking meter, the twelfth that is used; wood
            labels[0] = 255
            save(root / "annotations" / part / f"{i:012d}.png", labels)
    return root


def voc(root: Path) -> Path:
    base = root / "VOCdevkit" / "VOC2012"
    for part, count in (("train", 3), ("val", 2)):
        names = [f"2007_{part}_{i}" for i in range(count)]
        lists = base / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{part}.txt").write_text("\n".join(names) + "\n")
        for i, name in enumerate(names):
            save(base / "JPEGImages" / f"{name}.jpg", picture(i))
            labels = halves(0, 20)
            labels[0] = 255
            mask = Image.fromarray(labels)
            mask.putpalette([(7 * k) % 256 for k in range(768)])
            path = base / "SegmentationClass" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            mask.save(path)
    return root


VOC_OBJECTS = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip


def voc_presence(root: Path, year: int = 2012, splits: tuple[str, ...] = ("train", "val")) -> Path:
    """Image i of a split shows object i and a person; the last object is difficult in all."""
    base = root / "VOCdevkit" / f"VOC{year}"
    lists = base / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for part in splits:
        names = [f"{year}_{part}_{i}" for i in range(3)]
        for i, name in enumerate(names):
            save(base / "JPEGImages" / f"{name}.jpg", picture(i))
        for k, kind in enumerate(VOC_OBJECTS):
            shown = [1 if k == i or kind == "person" else -1 for i in range(3)]
            marks = [0] * 3 if kind == "tvmonitor" else shown
            # As distributed: the mark is aligned to the right.
            lines = [f"{name} {mark:2d}\n" for name, mark in zip(names, marks, strict=True)]
            (lists / f"{kind}_{part}.txt").write_text("".join(lines))
    return root


def kitti(root: Path, *, selection: bool = True) -> Path:
    for part, drive in (
        ("train", "2011_09_26_drive_0001_sync"),
        ("val", "2011_09_28_drive_0002_sync"),
    ):
        for camera in ("image_02", "image_03"):
            for i in (5, 6):
                depth = halves(256 * 10, 256 * 90, np.uint16)  # 10 m; 90 m is too far
                depth[0] = 0
                inside = root / part / drive / "proj_depth"
                save(inside / "groundtruth" / camera / f"{i:010d}.png", depth)
                save(inside / "velodyne_raw" / camera / f"{i:010d}.png", depth)
                recorded = root / drive[:10] / drive / camera / "data" / f"{i:010d}"
                save(recorded.with_suffix(".jpg" if i == 6 else ".png"), picture(i))
    if selection:
        base = root / "depth_selection" / "val_selection_cropped"
        stem = "2011_09_26_drive_0002_sync_{}_0000000005_image_02.png"
        save(base / "image" / stem.format("image"), picture(1))
        depth = halves(256 * 20, 256 * 30, np.uint16)
        save(base / "groundtruth_depth" / stem.format("groundtruth_depth"), depth)
    return root


def nyu(root: Path, *, classes: bool = True) -> Path:
    import h5py
    import scipy.io

    root.mkdir(parents=True, exist_ok=True)
    count = 5
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w") as file:
        pictures = np.stack([picture(i) for i in range(count)])
        file["images"] = pictures.transpose(0, 3, 2, 1)  # MATLAB's axes, the last one first
        depth = np.stack([halves(2, 9, np.float32)] * count)
        depth[:, 0] = 11  # farther than it measures
        file["depths"] = depth.transpose(0, 2, 1)
        labels = np.stack([halves(1, 894, np.uint16)] * count)
        labels[:, 0] = 0
        file["labels"] = labels.transpose(0, 2, 1)
    scipy.io.savemat(root / "splits.mat", {"trainNdxs": [[1], [2], [5]], "testNdxs": [[3], [4]]})
    if classes:
        mapped = np.full((1, 894), 40)
        mapped[0, 0] = 3
        scipy.io.savemat(root / "classMapping40.mat", {"mapClass": mapped})
    return root


def nyu_folders(root: Path) -> Path:
    rows: dict[str, list[str]] = {"train": [], "test": []}
    for i in range(3):
        stem = f"data/nyu2_train/bedroom_0001_out/{i}"
        save(root / f"{stem}.jpg", picture(i))
        depth = halves(51, 255)  # 2 m and 10 m
        depth[0] = 0
        save(root / f"{stem}.png", depth)
        rows["train"].append(f"{stem}.jpg,{stem}.png")
    for i in range(2):
        stem = f"data/nyu2_test/{i:05d}"
        save(root / f"{stem}_colors.png", picture(i))
        depth = halves(2000, 10000, np.uint16)
        depth[0] = 0
        save(root / f"{stem}_depth.png", depth)
        rows["test"].append(f"{stem}_colors.png,{stem}_depth.png")
    for part, lines in rows.items():
        # The list of training pairs was written with Windows' line ends.
        (root / "data" / f"nyu2_{part}.csv").write_bytes("\r\n".join(lines).encode() + b"\r\n")
    return root


WNIDS = ("n01440764", "n01443537", "n02119789")


def imagenet(root: Path) -> Path:
    for part, count in (("train", 3), ("val", 2)):
        for k, wnid in enumerate(WNIDS):
            for i in range(count):
                save(root / part / wnid / f"{wnid}_{i}.JPEG", picture(k))
    return root


def imagenet_devkit(root: Path) -> Path:
    import scipy.io

    imagenet(root)
    for path in sorted((root / "val").rglob("*.JPEG")):
        path.unlink()
    for wnid in WNIDS:
        (root / "val" / wnid).rmdir()
    # The devkit's own numbers are not in the order of the names; a parent class has children.
    numbers = {1: WNIDS[2], 2: WNIDS[0], 3: WNIDS[1], 4: "n00001740"}
    kinds = [("ILSVRC2012_ID", float), ("WNID", object), ("num_children", float)]
    synsets = np.zeros(4, dtype=kinds)
    for place, (number, wnid) in enumerate(numbers.items()):
        synsets[place] = (number, wnid, 3 if number == 4 else 0)
    devkit = root / "ILSVRC2012_devkit_t12" / "data"
    devkit.mkdir(parents=True)
    scipy.io.savemat(devkit / "meta.mat", {"synsets": synsets})
    (devkit / "ILSVRC2012_validation_ground_truth.txt").write_text("3\n1\n2\n1\n")
    for i, kind in enumerate((1, 2, 0, 2), 1):  # the places of their classes among the names
        save(root / "val" / f"ILSVRC2012_val_{i:08d}.JPEG", picture(kind))
    return root


def aligned(root: Path) -> Path:
    for part, count in (("train", 3), ("val", 2)):
        for i in range(count):
            both = np.concatenate([picture(i), 255 - picture(i)], 1)
            save(root / part / f"{i}.png", both)
    return root


def two_folders(root: Path) -> Path:
    for part, count in (("train", 3), ("test", 2)):
        for i in range(count):
            save(root / "A" / part / f"{i}.png", picture(i))
            save(root / "B" / part / f"{i}.bmp", 255 - picture(i))
    return root


def unpaired(root: Path) -> Path:
    for part, counts in (("train", (3, 5)), ("test", (2, 3))):
        for kind, count in zip("AB", counts, strict=True):
            for i in range(count):
                save(root / f"{part}{kind}" / f"{kind}{i}.png", picture(i + 5 * (kind == "B")))
    return root


def folders(root: Path) -> Path:
    for part, count in (("train", 3), ("val", 2)):
        for i in range(count):
            base = root / part
            save(base / "images" / "walk" / f"{i}.jpg", picture(i))
            labels = halves(0, 4)
            labels[0] = 200
            save(base / "masks" / "walk" / f"{i}.png", labels)
            depth = halves(1000, 3000, np.uint16)
            depth[0] = 0
            save(base / "depth" / "walk" / f"{i}.png", depth)
            normals = np.full((HEIGHT, WIDTH, 3), (255, 128, 128), np.uint8)  # along x
            normals[0] = 128
            save(base / "normals" / "walk" / f"{i}.png", normals)
    return root


def hub(root: Path) -> Path:
    import datasets

    files = folders(root / "files")
    tables = {}
    for name, part in (("train", "train"), ("validation", "val"), ("test", "val")):
        pictures = sorted((files / part / "images").rglob("*.jpg"))
        others = {
            key: [str(files / part / key / "walk" / f"{path.stem}.png") for path in pictures]
            for key in ("masks", "depth")
        }
        kinds = {key: datasets.Image() for key in ("photo", "masks", "depth")}
        kinds["kind"] = datasets.ClassLabel(names=["a", "b", "c"])
        tables[name] = datasets.Dataset.from_dict(
            {
                "photo": [str(path) for path in pictures],
                "kind": [k % 3 for k in range(len(pictures))],
                **others,
            },
            features=datasets.Features(kinds),
        )
    datasets.DatasetDict(tables).save_to_disk(root / "saved")
    return root / "saved"
