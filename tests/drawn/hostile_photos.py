"""Photos that have much in common and show different objects: print, digits, watermarks, coins, circles, boards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ensemble_minerals.data.synthetic.photo_set import DEMONSTRATION_COUNTS, draw_photo

Pixels = NDArray[np.uint8]
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


def _text(rng: np.random.Generator) -> str:
    words = ["".join(rng.choice(list(LETTERS[:18]), rng.integers(2, 9))) for _ in range(9)]
    return " ".join(words)


def text_page(number: int) -> Pixels:
    """A page of text that is on no other page."""
    rng = np.random.default_rng(number)
    page = Image.new("RGB", (300, 400), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for line in range(24):
        pen.text((20, 16 + 15 * line), _text(rng), fill="black", font=font)
    return np.asarray(page)


def digit(number: int) -> Pixels:
    """One of ten digits, a little elsewhere and of another size each time."""
    rng = np.random.default_rng(number)
    photo = Image.new("RGB", (280, 280), "black")
    place, size = rng.uniform(125, 155, 2), rng.uniform(170, 230)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(photo).text(tuple(place), str(number % 10), fill="white", font=font, anchor="mm")
    turned = photo.rotate(rng.uniform(-15, 15), Image.Resampling.BICUBIC)
    return np.asarray(turned)


def specimen(number: int) -> Pixels:
    """A specimen, drawn anew for each number."""
    minerals = list(DEMONSTRATION_COUNTS)
    return draw_photo(minerals[number % len(minerals)], np.random.default_rng(100 + number), 300)


def watermarked(number: int) -> Pixels:
    """Another specimen each time, under the same watermark and banner."""
    photo = Image.fromarray(specimen(number))
    layer = Image.new("L", photo.size)
    pen, font = ImageDraw.Draw(layer), ImageFont.load_default(26)
    for y in (60, 150, 240):
        pen.text((150, y), "minerals.example", fill=110, font=font, anchor="mm")
    marked = Image.composite(Image.new("RGB", photo.size, "white"), photo, layer)
    pen = ImageDraw.Draw(marked)
    pen.rectangle((0, 272, 300, 300), fill="black")
    pen.text((8, 278), f"stock photo  -  image id {number + 10}  -  www.minerals.example", fill="white")
    return np.asarray(marked)


def beside_a_coin(number: int) -> Pixels:
    """Another specimen each time, beside the same coin."""
    rng = np.random.default_rng(7)
    photo = Image.fromarray(specimen(number))
    coin = Image.new("RGB", (76, 76), (150, 120, 60))
    pen = ImageDraw.Draw(coin)
    for ring in (36, 30, 12):
        pen.ellipse((38 - ring, 38 - ring, 38 + ring, 38 + ring), outline=(90, 60, 20), width=2)
    pen.text((38, 38), "5", fill=(60, 40, 10), font=ImageFont.load_default(30), anchor="mm")
    grain = np.clip(np.asarray(coin) + rng.normal(0, 20, (76, 76, 1)), 0, 255).astype(np.uint8)
    round_ = Image.new("L", coin.size)
    ImageDraw.Draw(round_).ellipse((1, 1, 74, 74), fill=255)
    photo.paste(Image.fromarray(grain), (215, 210), round_)
    return np.asarray(photo)


def circles(number: int) -> Pixels:
    """Concentric circles at other distances each time."""
    rng = np.random.default_rng(number)
    photo = Image.new("RGB", (300, 300), "white")
    pen, at = ImageDraw.Draw(photo), rng.uniform(120, 180, 2)
    for radius in np.cumsum(rng.uniform(6, 24, 14)):
        box = (at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius)
        pen.ellipse(box, outline=tuple(rng.integers(0, 120, 3).tolist()), width=int(rng.integers(2, 6)))
    return np.asarray(photo)


def on_a_chessboard(number: int) -> Pixels:
    """Another specimen each time, in the middle of the same board."""
    board = np.kron(np.indices((10, 10)).sum(axis=0) % 2, np.ones((30, 30)))
    pixels = np.repeat((40 + 170 * board)[..., None], 3, axis=2).astype(np.uint8)
    pixels[75:225, 75:225] = specimen(number)[75:225, 75:225]
    return pixels


def screenshot(number: int) -> Pixels:
    """The same window around another text each time."""
    window = Image.new("RGB", (400, 300), (235, 235, 240))
    pen, font = ImageDraw.Draw(window), ImageFont.load_default(12)
    pen.rectangle((0, 0, 400, 26), fill=(40, 70, 140))
    pen.text((10, 6), "File   Edit   View   Tools   Help", fill="white", font=font)
    for row in range(6):
        pen.rounded_rectangle((8, 40 + 38 * row, 88, 70 + 38 * row), 6, outline="black")
        pen.text((16, 48 + 38 * row), ("Open", "Save", "Print", "Search", "Undo", "Quit")[row], "black", font)
    rng = np.random.default_rng(number)
    for line in range(15):
        pen.text((105, 40 + 16 * line), _text(rng)[:40], fill="black", font=font)
    return np.asarray(window)


def small_print(number: int) -> Pixels:
    """A large window around a small text that is another each time."""
    window = Image.new("RGB", (1200, 900), (235, 235, 240))
    pen = ImageDraw.Draw(window)
    pen.rectangle((0, 0, 1200, 40), fill=(40, 70, 140))
    pen.text((10, 12), "File   Edit   View   Tools   Help", fill="white", font=ImageFont.load_default(18))
    for row, word in enumerate(
        ("Open", "Save", "Print", "Search", "Undo", "Quit", "Copy", "Paste", "Find", "Zoom")
    ):
        pen.rounded_rectangle((8, 60 + 68 * row, 188, 110 + 68 * row), 6, outline="black")
        pen.text((16, 75 + 68 * row), word, "black", ImageFont.load_default(22))
    rng = np.random.default_rng(number)
    for line in range(50):
        words = " ".join(_text(rng) for _ in range(4))
        pen.text((205, 60 + 16 * line), words[:150], fill="black", font=ImageFont.load_default(12))
    return np.asarray(window)


def form(number: int) -> Pixels:
    """A printed card, filled in otherwise each time."""
    card = Image.new("RGB", (600, 800), "white")
    pen = ImageDraw.Draw(card)
    pen.text((150, 20), "MINERAL IDENTIFICATION CARD", fill="black", font=ImageFont.load_default(20))
    rng = np.random.default_rng(number)
    keys = (
        "Name",
        "Formula",
        "Locality",
        "Collector",
        "Date",
        "Number",
        "Hardness",
        "Streak",
        "Lustre",
        "Weight",
    )
    for row, key in enumerate(keys):
        pen.rectangle((30, 80 + 56 * row, 570, 126 + 56 * row), outline="black")
        pen.text((40, 90 + 56 * row), f"{key}:", fill="black", font=ImageFont.load_default(16))
        pen.text((200, 90 + 56 * row), _text(rng)[:30], fill=(20, 20, 120), font=ImageFont.load_default(18))
    return np.asarray(card)


def table(number: int) -> Pixels:
    """A table of one layout with other numbers."""
    rng = np.random.default_rng(number)
    page = Image.new("RGB", (480, 360), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for left in range(0, 480, 80):
        pen.line((left, 0, left, 360), fill="black", width=2)
        for top in range(0, 360, 24):
            pen.line((0, top, 480, top), fill="black")
            text = f"column {left // 80}" if top == 0 else f"{rng.integers(10**4) / 100:.2f}"
            pen.text((left + 8, top + 6), text, fill="black", font=font)
    return np.asarray(page)


HOSTILE: dict[str, Callable[[int], Pixels]] = {
    kind.__name__: kind
    for kind in (
        text_page,
        digit,
        specimen,
        watermarked,
        beside_a_coin,
        circles,
        on_a_chessboard,
        screenshot,
        small_print,
        form,
        table,
    )
}
"""Kinds of photos; those of one kind are of different objects."""
