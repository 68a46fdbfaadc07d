"use strict";
// Photos as `predict` reads them: upright, on white, large ones reduced by averaging squares of pixels.
const photos = (() => {
  const STRIP = 4_000_000;  // pixels that are held as RGBA at a time

  // By which factor the sides are reduced: a JPEG as its decoder does in Python, others by any whole number.
  function reduction(shorter, side, isJpeg) {
    if (!isJpeg) return Math.max(1, Math.floor(shorter / side));
    const times = Math.floor(shorter / side);
    const ofJpeg = [8, 4, 2].find(step => times >= step) ?? 1;
    return ofJpeg * Math.max(1, Math.floor(Math.ceil(shorter / ofJpeg) / side));
  }

  // Average a strip of RGBA into rows of RGB.
  function average(strip, width, tall, factor, wide, target, start) {
    const sums = new Uint32Array(3 * wide);
    let at = start;
    for (let top = 0; top < tall; top += factor) {
      const rows = Math.min(factor, tall - top);
      sums.fill(0);
      for (let y = top; y < top + rows; y++) {
        let source = 4 * y * width;
        for (let column = 0; column < wide; column++) {
          const end = Math.min(width, (column + 1) * factor);
          let red = 0, green = 0, blue = 0;
          for (let x = column * factor; x < end; x++, source += 4) {
            red += strip[source];
            green += strip[source + 1];
            blue += strip[source + 2];
          }
          sums[3 * column] += red;
          sums[3 * column + 1] += green;
          sums[3 * column + 2] += blue;
        }
      }
      for (let column = 0; column < wide; column++) {
        const pixels = rows * Math.min(factor, width - column * factor);
        for (let color = 0; color < 3; color++) target[at++] = Math.floor(sums[3 * column + color] / pixels + 0.5);
      }
    }
    return at;
  }

  async function read(file, { side, min_side, max_pixels }) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
    } catch {
      throw new Error("not_an_image: this browser cannot read it");
    }
    try {
      const { width, height } = bitmap;
      const size = `${width} x ${height} pixels`;
      if (width * height > max_pixels) throw new Error(`too_large: ${size}, more than the limit of ${max_pixels}`);
      if (Math.min(width, height) < min_side) throw new Error(`too_small: ${size}, the shorter side is below ${min_side}`);
      const factor = reduction(Math.min(width, height), side, file.type === "image/jpeg");
      const high = Math.ceil(height / factor), wide = Math.ceil(width / factor);
      const pixels = new Uint8Array(3 * high * wide);
      const rows = Math.max(1, Math.floor(STRIP / (width * factor))) * factor;
      const canvas = document.createElement("canvas");
      canvas.width = width;
      canvas.height = Math.min(rows, height);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.fillStyle = "#fff";
      for (let top = 0, at = 0; top < height; top += rows) {
        const tall = Math.min(rows, height - top);
        context.fillRect(0, 0, width, tall);
        context.drawImage(bitmap, 0, top, width, tall, 0, 0, width, tall);
        at = average(context.getImageData(0, 0, width, tall).data, width, tall, factor, wide, pixels, at);
      }
      return { pixels, high, wide };
    } finally {
      bitmap.close();
    }
  }

  return { read };
})();
