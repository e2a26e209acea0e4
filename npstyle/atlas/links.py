"""Which line of code computes which formula.

Each entry names a part of a line of code and a part of a formula in the docstring of the same
module, both as they stand in the source. `npstyle.atlas.sources` raises an error if one of them is
no longer there, so a link cannot point to what the source does not say.
"""

LINKS: dict[str, tuple[tuple[str, str], ...]] = {
    "npstyle.maths.preprocessing": (
        ("return (ordered - np.asarray(mean)) * np.asarray(scale)", "z = (x - m) s"),
        ("scaled = upstream * np.asarray(scale)", "dL/dx = s dL/dz"),
    ),
    "npstyle.maths.padding": (
        ("return np.pad(image, (sides, sides, (0, 0)))", "X[u, v] inside the image, 0 outside"),
        ("return upstream[padding : padding + height,", "dL/dX[u, v] = dL/dY[u + p, v + p]"),
        ("return np.clip(np.arange(-padding", "X[clip(u), clip(v)]"),
        ("return image[rows[:, np.newaxis], columns]", "X[clip(u), clip(v)]"),
        ("np.add.at(gradient, (rows[:, np.newaxis], columns), upstream)", "dL/dX[y, x] = sum of"),
        ("return np.minimum(u, 2 * (length - 1) - u)", "mirror(u) = |u|"),
    ),
    "npstyle.maths.windows": (
        ("rows = slice(i, i + (out_height - 1) * stride + 1, stride)", "W_ij[y, x] ="),
        ("columns = slice(j, j + (out_width - 1) * stride + 1, stride)", "W_ij[y, x] ="),
    ),
    "npstyle.maths.conv": (
        ("Z += window @ kernel[i, j]", "Z = b + sum_{i, j}  W_ij K_ij"),
        ("return Z if bias is None else Z + bias", "Z = b + sum_{i, j}  W_ij K_ij"),
        ("window += upstream @ kernel[i, j].T", "dL/dX[u, v, c]"),
        ("kernel_gradient[i, j] = np.tensordot(window, upstream", "dL/dK[i, j, c, o]"),
        ("return kernel_gradient, upstream.sum(axis=(0, 1))", "dL/db[o]"),
    ),
    "npstyle.maths.depthwise": (
        ("Z += window * kernel[i, j]", "Z = b + sum_{i, j}  W_ij K_ij"),
        ("window += upstream * kernel[i, j]", "dL/dW_ij = g K_ij"),
        ("kernel_gradient[i, j] = (window * upstream).sum", "dL/dK_ij = sum"),
        ("return kernel_gradient, upstream.sum(axis=(0, 1))", "dL/db "),
    ),
    "npstyle.maths.relu": (
        ("return np.maximum(pre_activation, 0)", "F = max(Z, 0)"),
        ("return upstream * (activation > 0)", "dL/dF  where F > 0"),
        ("return np.clip(pre_activation, 0, 6)", "F = min(max(Z, 0), 6)"),
        ("return upstream * ((activation > 0) & (activation < 6))", "where 0 < F < 6"),
    ),
    "npstyle.maths.pooling": (
        ("return np.mean(slices, axis=0, dtype=image.dtype)", "Y = 1/k^2 sum_{i, j} W_ij"),
        ("window += upstream / upstream.dtype.type(size**2)", "dL/dW_ij = 1/k^2 dL/dY"),
        ("return np.max(slices, axis=0)", "Y = max_{i, j} W_ij"),
        ("window += upstream * (winners == i * size + j)", "is the winner of the window"),
        ("return np.sqrt(avg_pool2d(image**2, size, stride))", "Y = sqrt("),
        ("slope = np.divide(upstream, Y,", "W_ij / (k^2 Y) dL/dY"),
        ("return image * avg_pool2d_backward(slope,", "W_ij / (k^2 Y) dL/dY"),
        ("return np.mean(image, axis=(0, 1), keepdims=True", "Y = 1/M sum"),
        ("share = upstream / upstream.dtype.type(image_shape[0]", "dL/dX[y, x] = 1/M dL/dY"),
    ),
    "npstyle.maths.normalization": (
        ("deviation = image - _mean(image)", "m = 1/M sum_k x_k"),
        ("s = np.sqrt(_mean(deviation**2)", "m = 1/M sum_k x_k"),
        ("return deviation / s, s", "n_k = (x_k - m) / s"),
        ("return scale * n + shift", "y_k = a n_k + b"),
        ("h = scale * upstream", "h_k = dL/dn_k = a g_k"),
        ("return (h - _mean(h) - n * _mean(h * n)) / s", "dL/dx_i ="),
        ("return np.sum(upstream * n, axis=(0, 1))", "dL/da = sum_k g_k n_k"),
    ),
    "npstyle.maths.upsampling": (
        ("return image.repeat(factor, axis=0).repeat(factor, axis=1)", "Y[y, x] ="),
        ("return blocks.sum(axis=(1, 3))", "dL/dX[u, v] ="),
    ),
    "npstyle.maths.sigmoid": (
        ("return (1 + np.tanh(Z / 2)) / 2", "(1 + tanh(Z / 2)) / 2"),
        ("return upstream * Y * (1 - Y)", "dY/dZ ="),
    ),
    "npstyle.maths.network": (
        ("X = outputs[layer.name] = run_layer(layer, X, skip)", "X_l = layer_l(X_(l-1))"),
        ("arriving[before] = arriving.get(before, 0) + at_X", "dL/dX_l ="),
        ("arriving[layer.skip] = arriving.get(layer.skip, 0) + upstream", "dL/dX_l ="),
    ),
    "npstyle.maths.layers": (("return X + skip", "Y = X + S"),),
    "npstyle.maths.conditional": (
        ("a = layer.scale_weights @ code + layer.scale_bias", "a = A c + a_0"),
        ("b = layer.shift_weights @ code + layer.shift_bias", "a = A c + a_0"),
        ("at_code = at_code + layer.scale_weights.T @ at_a", "dL/dc ="),
        ('"scale_weights": np.outer(at_a, code)', "dL/dc ="),
        ('"scale_bias": at_a', "dL/dc ="),
    ),
    "npstyle.maths.content": (
        ("return np.sum((F - P) ** 2) / 2", "L = 1/2 sum (F - P)^2"),
        ("return F - P", "dL/dF = F - P"),
    ),
    "npstyle.maths.gram": (
        ("return counted.T @ positions", "G = F F^T"),
        ("counted = positions if guide is None", "G_ij = sum_k w_k F_ik F_jk"),
        ("gradient = F @ (D + D.T)", "dL/dF = (D + D^T) F"),
        ("return gradient if guide is None else gradient *", "dL/dF_ik = w_k sum_j"),
    ),
    "npstyle.maths.style": (
        ("return np.sum((mean_gram(F, guide) - A) ** 2)", "E = 1/(4 N^2) sum (G' - A')^2"),
        ("D = (mean_gram(F, guide) - A) /", "D = dE/dG'"),
        ("return mean_gram_backward(D, F, guide)", "dE/dF = 1/M (D + D^T) F"),
    ),
    "npstyle.maths.variation": (
        ("return np.sum(np.diff(image, axis=0) ** 2)", "T = sum"),
        ("gradient[1:] += 2 * down", "dT/dX[y, x] ="),
        ("gradient[:-1] -= 2 * down", "dT/dX[y, x] ="),
        ("gradient[:, 1:] += 2 * right", "dT/dX[y, x] ="),
        ("gradient[:, :-1] -= 2 * right", "dT/dX[y, x] ="),
    ),
    "npstyle.maths.objective": (
        ("return self.alpha * content_loss(F, self.P)", "f(x) ="),
        ("return self.beta * style_loss(F, self.A, self.guide)", "f(x) ="),
        ("loss = gamma * total_variation(pixels)", "f(x) ="),
        ("loss = loss + term.loss(F)", "f(x) ="),
    ),
    "npstyle.maths.box": (
        ("return z - 2 * PIXEL_MAX * np.rint(z / (2 * PIXEL_MAX))", "r = z - 510 round(z / 510)"),
        ("return np.abs(_reflected(z))", "x = mirror(z) = |r|"),
        ("return np.where(_reflected(z) < 0, -upstream, upstream)", "sign(r) df/dx"),
    ),
    "npstyle.maths.precondition": (
        ("D = np.sqrt(2 / n) * np.cos(np.pi * (i + 0.5) * k / n)", "D[k, i] ="),
        ("D[0] = np.sqrt(1 / n)", "D[k, i] ="),
        ("s = np.clip(f, lowest, highest)[:, :, None] ** -exponent", "s_k(f) ="),
        (
            'return np.einsum("ki,lj,mc,klm->ijc", rows, columns, colors, s * w',
            "x = x_0 + D^T (s w)",
        ),
        (
            'return s * np.einsum("ki,lj,mc,ijc->klm", rows, columns, colors, upstream',
            "dL/dw = s (D dL/dx)",
        ),
    ),
    "npstyle.maths.adam": (
        ("mean = BETA_1 * mean + (1 - BETA_1) * gradient", "m_t = beta_1 m_(t-1)"),
        ("square = BETA_2 * square + (1 - BETA_2) * gradient**2", "v_t = beta_2 v_(t-1)"),
        ("unbiased_mean / (np.sqrt(unbiased_square) + EPSILON)", "d_t ="),
    ),
    "npstyle.maths.checkerboard": (
        ("return n * np.sum(_repeated(image, period, side) ** 2)", "E = n sum_ij"),
        ("slope = 2 * _repeated(image, period, side)", "dE/dX[P a + i, P b + j] ="),
        ("R = _cells(_windows(image, side), period, side).mean", "R[i, j] ="),
    ),
    "npstyle.maths.training": (
        ("loss = loss + f / B", "J(theta) ="),
        ("before[array] = before.get(array, 0) + gradient / B", "dJ/dtheta ="),
    ),
    "npstyle.engine.cpu.winograd": (
        ("both = np.kron(G, G)", "Y = A^T [ (G g G^T)"),
        ("out[:, channel] = both @ kernel", "Y = A^T [ (G g G^T)"),
        ("transform(transformed, halves, layer.to_tiles", "Y = A^T [ (G g G^T)"),
        ("np.matmul(transformed, layer.filters", "M_k = V_k U_k"),
        ("np.matmul(self.from_tiles, flat(products)", "vec(A^T m A) ="),
        ("flipped = filters.transpose(0, 2, 1)", "dL/dX = J A^T"),
        ("matrices = _typed(B.T[:, ::-1], FROM_TILES[::-1]", "dL/dX = J A^T"),
    ),
    "npstyle.tiles.cut": (
        ("size += (kernel - 1) * stride", "R_l = R_(l-1)"),
        ("offset += padding * stride", "R_l = R_(l-1)"),
        ("stride *= step", "R_l = R_(l-1)"),
        ("return self.stride * first - self.offset, self.stride * (end", "A - P_l, ..., B"),
    ),
    "npstyle.tiles.passes": (
        ("found[name] = bound.engine.gram(F[rows], w)", "G' = sum_t"),
        ("total[name] = total[name] + found", "G' = sum_t"),
        ("engine.gram_backward(slope[name], F[rows], w, out[rows])", "dE/dF_k = w_k"),
    ),
}
"""By module: parts of lines of code, each with a part of the formula that the line computes."""
