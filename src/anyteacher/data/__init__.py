"""Data: the built-in benchmarks, generated rooms and handwritten digits, and sets on disk."""

from anyteacher.data.ade20k import ADE20KData
from anyteacher.data.augmentation import Augmentation
from anyteacher.data.cityscapes import CityscapesData
from anyteacher.data.coco_stuff import COCOStuffData
from anyteacher.data.digits import DigitsData, DigitsDataset
from anyteacher.data.folders import FoldersData
from anyteacher.data.hub import HubData
from anyteacher.data.imagenet import ImageNetData
from anyteacher.data.kitti import KITTIData
from anyteacher.data.loading import Place, ResumableLoader, ResumableSampler, collate
from anyteacher.data.nyu import NYUv2Data, NYUv2FoldersData
from anyteacher.data.pairs import PairsData
from anyteacher.data.rooms import RoomsData, RoomsDataset, write_contact_sheet
from anyteacher.data.source import ImageData, ImageDataset, Source
from anyteacher.data.unpaired import UnpairedData
from anyteacher.data.voc import VOCData, VOCPresenceData

__all__ = [
    "ADE20KData",
    "Augmentation",
    "COCOStuffData",
    "CityscapesData",
    "DigitsData",
    "DigitsDataset",
    "FoldersData",
    "HubData",
    "ImageData",
    "ImageDataset",
    "ImageNetData",
    "KITTIData",
    "NYUv2Data",
    "NYUv2FoldersData",
    "PairsData",
    "Place",
    "ResumableLoader",
    "ResumableSampler",
    "RoomsData",
    "RoomsDataset",
    "Source",
    "UnpairedData",
    "VOCData",
    "VOCPresenceData",
    "collate",
    "write_contact_sheet",
]
