"""Run an exported model with numpy, pillow and onnxruntime alone: python run_exported.py MODEL.onnx IMAGE ..."""

import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
for path in sys.argv[2:]:
    picture = Image.open(path)
    if picture.mode not in ("L", "RGB"):
        sys.exit(f"{path} has mode {picture.mode}, expected 8 bits of grey (L) or colour (RGB)")
    pixels = np.asarray(picture)
    image = pixels[None, None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)[None]
    found = dict(zip(names, session.run(None, {"image": np.ascontiguousarray(image)}), strict=True))
    Image.fromarray(255 * found["mask"][0, 0]).save(f"{path}.mask.png")
    print(path, f"score {found['score'][0]:.6g}", f"review {found['review'][0]}" if "review" in found else "")
