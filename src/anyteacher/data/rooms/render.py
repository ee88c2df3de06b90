"""Pictures of rooms and everything there is to know about them, from seeds alone.

Each picture is cast with one ray through the centre of every pixel, which gives the labels, and
three more around it, which together with the first give a smooth image. Only exactly rounded
arithmetic is used (see `rng`), so a scene has the same bits in every batch and for every number of
threads.
"""

from collections.abc import Collection

import torch
from jaxtyping import Int
from torch import Tensor

from anyteacher.data.rooms.cast import OFFSETS, Objects, Surface, camera_rays, surfaces
from anyteacher.data.rooms.raycast import Vec, dot
from anyteacher.data.rooms.scene import KINDS, MAX_OBJECTS, Scene, sample_scenes
from anyteacher.data.rooms.shade import Shading
from anyteacher.data.rooms.texture import FACES
from anyteacher.errors import ConfigError, did_you_mean

TARGETS = ("depth", "segmentation", "normals", "edges", "relit", "presence", "count")
"""What a scene can be asked for beside its image."""

EXTRA_TARGETS = ("instances",)
"""Further maps for tests and analysis: which object each pixel shows, from 1; 0 is the room."""

VISIBLE_SHARE = 1 / 512
"""An object counts as visible from this share of the picture on: 8 pixels of 64 x 64."""

_RAYS_AT_ONCE = 80_000  # few enough for their tensors to stay in the cache of a processor
_RAYS_AT_ONCE_GPU = 8_000_000
_CLASS_OF_FACE = (1, 1, 0, 2, 1, 1)


def _edges(number: Int[Tensor, "b h w"]) -> Tensor:
    """1 where a pixel and one of its four neighbours lie on different faces or things.

    All objects are convex, so depth, normal and class jump only from one face to another.
    """
    edge = torch.zeros_like(number, dtype=torch.bool)
    across, along = number[:, :, 1:] != number[:, :, :-1], number[:, 1:] != number[:, :-1]
    edge[:, :, 1:] |= across
    edge[:, :, :-1] |= across
    edge[:, 1:] |= along
    edge[:, :-1] |= along
    return edge[:, None].to(torch.float32)


def _centres(values: Tensor, height: int, width: int) -> Tensor:
    """The part that belongs to the centres of the pixels, as a map."""
    return values[:, : height * width].reshape(-1, height, width)


def _visible(instances: Int[Tensor, "b h w"], kind: Tensor) -> Tensor:
    """How many objects of each kind are visible: (B, 4)."""
    slots = torch.arange(1, MAX_OBJECTS + 1, device=kind.device)
    pixels = (instances.flatten(1)[:, None] == slots[:, None]).sum(2)
    seen = pixels >= max(1.0, VISIBLE_SHARE * instances[0].numel())
    return torch.stack([((kind == k) & seen).sum(1) for k in range(len(KINDS))], 1)


def _render(scene: Scene, height: int, width: int, wanted: frozenset[str]) -> dict[str, Tensor]:
    b = len(scene.eye)
    objects = Objects(scene)
    world = camera_rays(scene, height, width)
    pixels = height * width
    if not wanted & {"image", "relit"}:  # the labels need the centres of the pixels only
        world = (world[0][:, :pixels], world[1][:, :pixels], world[2][:, :pixels])
    surface = surfaces(scene, objects, world)
    batch: dict[str, Tensor] = {}
    if wanted & {"image", "relit"}:
        shading = Shading(scene, objects, surface, pixels)
        for key, light in (("image", scene.day), ("relit", scene.night)):
            if key in wanted:
                rays = shading.picture(light).reshape(b, 3, len(OFFSETS), height, width)
                image = rays[:, :, 0]
                for k in range(1, len(OFFSETS)):
                    image = image + rays[:, :, k]
                batch[key] = image * (1.0 / len(OFFSETS))
    batch.update(_labels(scene, surface, height, width, wanted))
    return batch


def _labels(
    scene: Scene, surface: Surface, height: int, width: int, wanted: frozenset[str]
) -> dict[str, Tensor]:
    batch: dict[str, Tensor] = {}
    if "depth" in wanted:
        batch["depth"] = _centres(surface.depth, height, width)[:, None].contiguous()
    if "normals" in wanted:
        maps = [_centres(n, height, width) for n in surface.normal]
        axes = scene.axes[..., None, None]
        turned = [dot(_axis(axes, k), (maps[0], maps[1], maps[2])) for k in range(3)]
        batch["normals"] = torch.stack(turned, 1)
    if wanted & {"segmentation", "instances", "presence", "count"}:
        slot = _centres(surface.slot, height, width)
        if "segmentation" in wanted:
            faces = torch.tensor(_CLASS_OF_FACE, device=slot.device).expand(len(slot), -1)
            classes = torch.cat((faces, scene.kind + 3), 1)
            batch["segmentation"] = classes.gather(1, slot.flatten(1)).reshape(slot.shape)
        instances = (slot - FACES + 1).clamp(min=0)
        if "instances" in wanted:
            batch["instances"] = instances
        if wanted & {"presence", "count"}:
            count = _visible(instances, scene.kind)
            batch["count"], batch["presence"] = count, (count > 0).to(torch.float32)
    if "edges" in wanted:
        batch["edges"] = _edges(_centres(surface.number, height, width))
    return {key: value for key, value in batch.items() if key in wanted}


def _axis(axes: Tensor, row: int) -> Vec:
    """The three entries of one row of the camera's axes, ready to multiply maps."""
    x, y, z = axes[:, row].unbind(1)
    return x, y, z


def check_targets(targets: Collection[str]) -> None:
    """Checks the names of targets.

    Raises:
        ConfigError: when one of them is unknown.
    """
    known = ("image", *TARGETS, *EXTRA_TARGETS)
    for target in targets:
        if target not in known:
            raise ConfigError(f"Rooms have no target {target!r}. {did_you_mean(target, known)}")


@torch.no_grad()
def render(
    seeds: Int[Tensor, " b"],
    height: int,
    width: int,
    *,
    targets: Collection[str] = TARGETS,
    device: torch.device | str = "cpu",
) -> dict[str, Tensor]:
    """Renders one scene for each seed.

    The scene of a seed is the same at every size; the field of view is that of the shorter side,
    and a longer side sees more.

    Args:
        seeds: one for each scene, any int64.
        height: rows of the picture.
        width: columns of the picture.
        targets: what to compute beside the image.
        device: where to compute; results are equal to rounding on all.

    Returns:
        "image" (B,3,H,W) in [0, 1] and those asked for of
        "depth" (B,1,H,W), metres along the optical axis;
        "segmentation" (B,H,W), numbers of `CLASSES`;
        "normals" (B,3,H,W), unit, x right, y down, z forward, on the side that the camera sees
        (at the rim of a wide picture their z may be positive all the same);
        "edges" (B,1,H,W), 1 on both sides of every jump of depth, normal or class;
        "relit" (B,3,H,W), the scene at night by a warm lantern to the left of the camera;
        "presence" (B,4) and "count" (B,4) of the kinds in `KINDS` that are visible, which is from
        `VISIBLE_SHARE` of the picture on; "instances" (B,H,W), 0 for the room, k for object k.

    Raises:
        ConfigError: when a target is unknown or the size is not positive.

    >>> import torch
    >>> scene = render(torch.tensor([1, 2]), 8, 12, targets=["depth"])
    >>> scene["image"].shape, scene["depth"].shape
    (torch.Size([2, 3, 8, 12]), torch.Size([2, 1, 8, 12]))
    """
    check_targets(targets)
    if height < 1 or width < 1:
        raise ConfigError(f"A picture needs a positive size; got {height} x {width}.")
    device = torch.device(device)
    scenes = sample_scenes(seeds.to(device))
    wanted = frozenset(targets) | {"image"}
    limit = _RAYS_AT_ONCE if device.type == "cpu" else _RAYS_AT_ONCE_GPU
    step = max(1, limit // (len(OFFSETS) * height * width))
    parts = [
        _render(scenes[i : i + step], height, width, wanted) for i in range(0, len(seeds), step)
    ]
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
