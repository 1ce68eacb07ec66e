"""Batch norm, max pooling and ReLU in as few passes over memory as they need, on one core.

Torch's operators make a dozen passes over the activations of one layer, forward and backward; these
functions make five. They are compiled by numba, for float32 or for bfloat16, when they are first
called, and kept on disk until this file changes. Numba does not notice changes of other files, so
all functions are in this one.

Activations are matrices with a line for each pixel and a column for each channel, which is how
images in channels_last format lie in memory. bfloat16 comes as uint16, and is rounded to nearest,
ties to even. Tensors are passed by address, because making arrays of them costs more than all
arithmetic of a small net. Sums over pixels add up 16 lines side by side, whatever the number of
channels: so vectors are full, and a channel's sum does not depend on the channels beside it, to the
last bit.

Notation, for each channel: z = scale * x + shift is the normalized value, and y = max(z, floor),
after the maximum over 2x2 squares if there is pooling; floor is 0 with ReLU and minus infinity
without.

Arguments of all functions:

kind      A number of the activations' type.
x, y      Addresses of the activations before and after.
size      Number of values of x, or of the array that the function goes through.
channels  Number of channels of x and y.
kept      Address of float32 (4, channels), which `fit` writes and all others read.
peak      Address of an array like y: the x at the largest z of each square.
place     Address of uint8, like y: where in its square the largest z is.
grad      Address of the gradient of y.
dx, ...   Address of the gradient of x, and so on, which the function writes.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic, overload

LINES = 16  # lines that are added side by side
CHUNK = 64  # groups of lines that are summed in float32; the sums of chunks are added in float64
FLOAT32, BFLOAT16, UINT8 = np.float32(0), np.uint16(0), np.uint8(0)  # values of `kind`
ZERO = np.float32(0)
SCALE, SHIFT, MEAN, INVERSE = range(4)  # indices in `kept`
BELOW = np.uint8(4)  # the place of a z that is not above the floor; others are 2 * row + column

_I16, _I32, _FLOAT = ir.IntType(16), ir.IntType(32), ir.FloatType()


def _compiled(function):
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no cache folder is writable
        return njit(**options)(function)


@intrinsic
def _widened(context, value):
    """bfloat16 to float32."""

    def code(_, build, signature, args):
        return build.bitcast(build.shl(build.zext(args[0], _I32), _I32(16)), _FLOAT)

    return types.float32(types.uint16), code


@intrinsic
def _rounded(context, value):
    """float32 to the nearest bfloat16."""

    def code(_, build, signature, args):
        bits = build.bitcast(args[0], _I32)
        odd = build.and_(build.lshr(bits, _I32(16)), _I32(1))
        up = build.add(bits, build.add(odd, _I32(0x7FFF)))
        return build.trunc(build.lshr(up, _I32(16)), _I16)

    return types.uint16(types.float32), code


@intrinsic
def _pointer(context, address, kind):
    """A pointer to numbers of a kind, from an integer."""
    pointer = types.CPointer(kind)

    def code(context, build, signature, args):
        return build.inttoptr(args[0], context.get_value_type(pointer))

    return pointer(address, kind), code


@_compiled
def _array(address, size, kind):
    """The array of numbers of a kind at an address."""
    return carray(_pointer(address, kind), (size,))


@_compiled
def _constants(kept, channels):
    """The array (4, channels) at the address `kept`."""
    return carray(_pointer(kept, FLOAT32), (4, channels))


def _read(value):
    """A number of an array, as float32."""


@overload(_read, inline="always")
def _read_as(value):
    if value == types.float32:
        return lambda value: value
    return lambda value: _widened(value)


def _written(value, like):
    """float32 as a number of an array's type."""


@overload(_written, inline="always")
def _written_as(value, like):
    if like.dtype == types.float32:
        return lambda value, like: value
    return lambda value, like: _rounded(value)


@_compiled
def _side_by_side(values, count):
    """An array of a number for each channel, repeated `count` times."""
    channels = values.size
    tiled = np.empty(count * channels, np.float32)
    for r in range(count):
        for c in range(channels):
            tiled[r * channels + c] = values[c]
    return tiled


@_compiled
def _carry(part, own, total, product):
    """Add two sums of a chunk to the sums of all chunks, in float64, and set the first to zero."""
    for k in range(part.size):
        total[k] += part[k]
        product[k] += own[k]
        part[k] = own[k] = 0


@_compiled
def _gathered(tiled, channels):
    """The sum over the lines that were added side by side, float64 (channels,)."""
    total = np.zeros(channels, np.float64)
    for r in range(LINES):
        for c in range(channels):
            total[c] += tiled[r * channels + c]
    return total


@_compiled
def fit(kind, x, size, channels, weight, bias, mean, variance, momentum, eps, kept):
    """Write the constants that normalize each channel to `kept`, and update the running statistics.

    Args:
        weight: Address of the norm's weights, float32 (channels,).
        bias: Address of the norm's biases, float32 (channels,).
        mean: Address of the running means, float32 (channels,); they are changed.
        variance: Address of the running variances, float32 (channels,); they are changed.
        momentum: Weight of the batch's statistics in the running statistics.
        eps: Number that is added to the variance.
    """
    xs, rows, width = _array(x, size, kind), size // channels, LINES * channels
    # sums of differences from the mean of the first lines: large means then cancel no digits
    pivot, first = np.zeros(channels, np.float32), min(LINES, rows)
    for r in range(first):
        for c in range(channels):
            pivot[c] += _read(xs[r * channels + c]) / np.float32(first)
    pivots = _side_by_side(pivot, LINES)
    total, squares = np.zeros(width, np.float64), np.zeros(width, np.float64)
    part, own = np.zeros(width, np.float32), np.zeros(width, np.float32)
    for start in range(0, size, CHUNK * width):
        for begin in range(start, min(start + CHUNK * width, size), width):
            row = xs[begin : begin + width]
            for k in range(row.size):
                d = _read(row[k]) - pivots[k]
                part[k] += d
                own[k] += d * d
        _carry(part, own, total, squares)
    sums, products = _gathered(total, channels), _gathered(squares, channels)
    found = _constants(kept, channels)
    weights, biases = _array(weight, channels, FLOAT32), _array(bias, channels, FLOAT32)
    means, variances = _array(mean, channels, FLOAT32), _array(variance, channels, FLOAT32)
    for c in range(channels):
        shift = sums[c] / rows
        spread, middle = products[c] / rows - shift * shift, pivot[c] + shift
        if spread < 0:  # by rounding
            spread = 0.0
        inverse = 1 / np.sqrt(spread + eps)
        found[SCALE, c] = weights[c] * inverse
        found[SHIFT, c] = biases[c] - middle * weights[c] * inverse
        found[MEAN, c] = middle
        found[INVERSE, c] = inverse
        means[c] += momentum * (middle - means[c])
        variances[c] += momentum * (spread * rows / (rows - 1) - variances[c])


@_compiled
def plain(kind, x, size, channels, kept, floor, y):
    """Write y, without pooling."""
    xs, ys, found = _array(x, size, kind), _array(y, size, kind), _constants(kept, channels)
    width = LINES * channels
    scale, shift = _side_by_side(found[SCALE], LINES), _side_by_side(found[SHIFT], LINES)
    for begin in range(0, size, width):
        row, out = xs[begin : begin + width], ys[begin : begin + width]
        for k in range(row.size):
            z = _read(row[k]) * scale[k] + shift[k]
            out[k] = _written(floor if z <= floor else z, ys)


@_compiled
def pooled(kind, x, samples, height, width, channels, kept, floor, y, peak, place):
    """Write y of each 2x2 square, `place` and `peak`; an odd last line or column is left out."""
    line, low, columns = width * channels, height // 2, width // 2
    count = samples * low * columns * channels
    xs = _array(x, samples * height * line, kind).reshape((samples, height, line))
    ys = _array(y, count, kind).reshape((samples, low, columns, channels))
    peaks = _array(peak, count, kind).reshape(ys.shape)
    places = _array(place, count, UINT8).reshape(ys.shape)
    found = _constants(kept, channels)
    scale, shift = _side_by_side(found[SCALE], width), _side_by_side(found[SHIFT], width)
    z2 = np.empty((columns + 1, 2, channels), np.float32)  # the larger z of two image lines
    x2, row2 = np.empty(z2.shape, np.float32), np.empty(z2.shape, np.uint8)
    z1, x1, row1 = z2.reshape(z2.size), x2.reshape(z2.size), row2.reshape(z2.size)
    for n in range(samples):
        for i in range(low):
            top, bottom = xs[n, 2 * i], xs[n, 2 * i + 1]
            for k in range(line):
                above, below = _read(top[k]), _read(bottom[k])
                za, zb = above * scale[k] + shift[k], below * scale[k] + shift[k]
                lower = zb > za
                z1[k] = zb if lower else za
                x1[k] = below if lower else above
                row1[k] = np.uint8(2) if lower else np.uint8(0)
            for j in range(columns):
                for c in range(channels):
                    za, zb = z2[j, 0, c], z2[j, 1, c]
                    right = zb > za
                    z = zb if right else za
                    where = np.uint8(row2[j, 1, c] + 1) if right else row2[j, 0, c]
                    under = z <= floor
                    places[n, i, j, c] = BELOW if under else where
                    ys[n, i, j, c] = _written(floor if under else z, ys)
                    peaks[n, i, j, c] = _written(x2[j, 1, c] if right else x2[j, 0, c], ys)


@_compiled
def _slopes(total, product, rows, kept, dweight, dbias):
    """Write the gradients of weight and bias, and find the gradient of x through the statistics.

    The gradient of x is scale * dz + slope * x + level, where dz is the gradient of z.

    Args:
        total: Sums of dz over pixels, (LINES * channels,).
        product: Sums of dz * (x - mean) over pixels, (LINES * channels,).
        rows: Number of pixels of all samples.
        kept: The array that `fit` has written, float32 (4, channels).

    Returns:
        slope and level, float32 (channels,) each.
    """
    channels = kept.shape[1]
    dweights, dbiases = _array(dweight, channels, FLOAT32), _array(dbias, channels, FLOAT32)
    sums, products = _gathered(total, channels), _gathered(product, channels)
    slope, level = np.empty(channels, np.float32), np.empty(channels, np.float32)
    for c in range(channels):
        inverse, scale = np.float64(kept[INVERSE, c]), np.float64(kept[SCALE, c])
        dweights[c] = products[c] * inverse
        dbiases[c] = sums[c]
        steep = -scale * inverse * inverse * products[c] / rows
        slope[c] = steep
        level[c] = -scale * sums[c] / rows - steep * kept[MEAN, c]
    return slope, level


@_compiled
def plain_back(kind, x, size, channels, kept, floor, grad, dx, dweight, dbias):
    """Write the gradients of x, weight and bias, after `plain`.

    Ioffe and Szegedy, 1502.03167, section 3, with the gradients through mean and variance.
    """
    xs, grads, dxs = _array(x, size, kind), _array(grad, size, kind), _array(dx, size, kind)
    found, width = _constants(kept, channels), LINES * channels
    scale, shift = _side_by_side(found[SCALE], LINES), _side_by_side(found[SHIFT], LINES)
    mean = _side_by_side(found[MEAN], LINES)
    total, product = np.zeros(width, np.float64), np.zeros(width, np.float64)
    part, own = np.zeros(width, np.float32), np.zeros(width, np.float32)
    for start in range(0, size, CHUNK * width):
        for begin in range(start, min(start + CHUNK * width, size), width):
            row, back = xs[begin : begin + width], grads[begin : begin + width]
            for k in range(row.size):
                v = _read(row[k])
                g = _read(back[k]) if v * scale[k] + shift[k] > floor else ZERO
                part[k] += g
                own[k] += g * (v - mean[k])
        _carry(part, own, total, product)
    slopes, levels = _slopes(total, product, size // channels, found, dweight, dbias)
    slope, level = _side_by_side(slopes, LINES), _side_by_side(levels, LINES)
    for begin in range(0, size, width):
        row, back = xs[begin : begin + width], grads[begin : begin + width]
        out = dxs[begin : begin + width]
        for k in range(row.size):
            v = _read(row[k])
            g = _read(back[k]) if v * scale[k] + shift[k] > floor else ZERO
            out[k] = _written(scale[k] * g + (slope[k] * v + level[k]), dxs)


@_compiled
def _pooled_sums(grads, peaks, places, mean):
    """Sums over pixels of dz, and of dz * (x - mean), float64 (LINES * channels,) each."""
    width, count = LINES * mean.size, grads.size
    means = _side_by_side(mean, LINES)
    total, product = np.zeros(width, np.float64), np.zeros(width, np.float64)
    part, own = np.zeros(width, np.float32), np.zeros(width, np.float32)
    for start in range(0, count, CHUNK * width):
        for begin in range(start, min(start + CHUNK * width, count), width):
            back, at = grads[begin : begin + width], places[begin : begin + width]
            high = peaks[begin : begin + width]
            for k in range(back.size):
                g = ZERO if at[k] == BELOW else _read(back[k])
                part[k] += g
                own[k] += g * (_read(high[k]) - means[k])
        _carry(part, own, total, product)
    return total, product


@_compiled
def pooled_back(
    kind, x, samples, height, width, channels, kept, grad, peak, place, dx, dweight, dbias
):
    """Write the gradients of x, weight and bias, after `pooled`."""
    line, low, columns = width * channels, height // 2, width // 2
    size, count = samples * height * line, samples * low * columns * channels
    grads, places = _array(grad, count, kind), _array(place, count, UINT8)
    found = _constants(kept, channels)
    total, product = _pooled_sums(grads, _array(peak, count, kind), places, found[MEAN])
    slopes, levels = _slopes(total, product, size // channels, found, dweight, dbias)
    slope, level, scale = _side_by_side(slopes, width), _side_by_side(levels, width), found[SCALE]
    xs = _array(x, size, kind).reshape((samples, height, line))
    dxs = _array(dx, size, kind).reshape((samples, height, line))
    grads4 = grads.reshape((samples, low, columns, channels))
    places4 = places.reshape(grads4.shape)
    above = np.zeros((columns + 1, 2, channels), np.float32)  # scale * dz of two image lines
    below = np.zeros(above.shape, np.float32)
    above1, below1 = above.reshape(above.size), below.reshape(above.size)
    for n in range(samples):
        for i in range(low):
            for j in range(columns):
                for c in range(channels):
                    g, at = scale[c] * _read(grads4[n, i, j, c]), places4[n, i, j, c]
                    above[j, 0, c] = g if at == 0 else ZERO
                    above[j, 1, c] = g if at == 1 else ZERO
                    below[j, 0, c] = g if at == 2 else ZERO
                    below[j, 1, c] = g if at == 3 else ZERO
            top, bottom = xs[n, 2 * i], xs[n, 2 * i + 1]
            dtop, dbottom = dxs[n, 2 * i], dxs[n, 2 * i + 1]
            for k in range(line):
                dtop[k] = _written(above1[k] + (slope[k] * _read(top[k]) + level[k]), dxs)
            for k in range(line):
                dbottom[k] = _written(below1[k] + (slope[k] * _read(bottom[k]) + level[k]), dxs)
        if height % 2:
            last, dlast = xs[n, height - 1], dxs[n, height - 1]
            for k in range(line):
                dlast[k] = _written(slope[k] * _read(last[k]) + level[k], dxs)
