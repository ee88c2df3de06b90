"""What slow references share: lists of numbers, and loops over them."""

import math

import torch

SHAPES_OF_IMAGES = [
    ((4, 3, 2, 5), (4, 6, 3, 1)),
    ((6, 3), (6, 2)),
    ((5, 1, 1, 4), (5, 7)),
    ((4, 1), (4, 9)),
]


def pair(shapes):
    return tuple(torch.randn(shape, dtype=torch.float64) for shape in shapes)


def vectors(x):
    return [image.flatten().tolist() for image in x]


def dot(a, b):
    return sum(p * q for p, q in zip(a, b, strict=True))


def minus(a, b):
    return [p - q for p, q in zip(a, b, strict=True)]


def length(a):
    return math.sqrt(dot(a, a))


def table(x, entry):
    rows = vectors(x)
    return [[entry(a, b) for b in rows] for a in rows]


def mean_of(function, first, second):
    values = [
        function(p, q)
        for row, other in zip(first, second, strict=True)
        for p, q in zip(row, other, strict=True)
    ]
    return sum(values) / len(values)


def squared(p, q):
    return (p - q) ** 2


def slow_cosine(a, b):
    return dot(a, b) / (length(a) * length(b))


def close(value, expected, tolerance=1e-10):
    assert value.ndim == 0
    assert abs(float(value.detach()) - float(expected)) < tolerance


def rows_of(x):
    """Every position of every image as a list of its channels' numbers."""
    return x.movedim(1, -1).flatten(0, -2).tolist()


def softmax(row, temperature=1.0):
    exponentials = [math.exp(z / temperature) for z in row]
    return [e / sum(exponentials) for e in exponentials]
