"""How alike two pictures look: the structural similarity index (SSIM).

Wang, Bovik, Sheikh, Simoncelli: Image quality assessment: from error visibility to structural
similarity, IEEE Transactions on Image Processing 13 (2004). Of lightness, over blocks of 8 by 8
pixels side by side, with Pillow's own arithmetic: numpy would cost every nursery 25 MB.
"""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageMath

_BLOCK_PX = 8
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(one: Image.Image, other: Image.Image) -> float:
    """1 for pictures of the same lightness in every pixel, near 0 for strangers.

    Both have the same size; what is left over at the right and lower edge after whole blocks is
    weighed like them. Transparent pictures are compared on grey.
    """
    x, y = _lightness(one), _lightness(other)
    mean_x, mean_y = _means(x), _means(y)
    xx, yy, xy = (_means(_product(*pair)) for pair in ((x, x), (y, y), (x, y)))
    index = ImageMath.lambda_eval(_index, mx=mean_x, my=mean_y, xx=xx, yy=yy, xy=xy)
    return float(index.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)))


def _lightness(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGBA":
        ground = Image.new("RGBA", picture.size, (128, 128, 128, 255))
        picture = Image.alpha_composite(ground, picture)
    return picture.convert("L").convert("F")


def _means(picture: Image.Image) -> Image.Image:
    return picture.reduce(_BLOCK_PX)


def _product(one: Image.Image, other: Image.Image) -> Image.Image:
    product: Image.Image = ImageMath.lambda_eval(
        lambda args: args["one"] * args["other"], one=one, other=other
    )
    return product


def _index(args: dict[str, Any]) -> Any:
    mx, my = args["mx"], args["my"]
    covariance = args["xy"] - mx * my
    variances = args["xx"] - mx * mx + args["yy"] - my * my
    return ((mx * my * 2 + _C1) * (covariance * 2 + _C2)) / (
        (mx * mx + my * my + _C1) * (variances + _C2)
    )
