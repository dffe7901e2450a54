"""Names and facts of fusion strategies and architectures. Generated: python -m fusionzoo.cli.make_index"""

from __future__ import annotations

from typing import Any

# fmt: off
# ruff: noqa: E501
FUSIONS: dict[str, dict[str, Any]] = {
    "acnet": {'family': 'attention', 'interaction': 'none', 'params': 8320, 'paper': 'Hu et al., ACNet (ICIP 2019), arXiv 1905.10089', 'licence': 'MIT (ours, from the equations); original: no licence stated'},
    "asymformer": {'family': 'hybrid', 'interaction': 'exchange', 'params': 23200, 'paper': 'Du et al., AsymFormer (CVPRW 2024), arXiv 2309.14065', 'licence': 'MIT (ours, from the equations); original: Apache-2.0'},
    "channel_exchange": {'family': 'exchange', 'interaction': 'exchange', 'params': 256, 'paper': 'Wang et al., CEN (NeurIPS 2020), arXiv 2011.05005', 'licence': "MIT (ours, from the equations); original: MIT, model.py with a 'non-commercial' BSD title"},
    "cmnext": {'family': 'cross-modal', 'interaction': 'exchange', 'params': 257349, 'paper': 'Zhang et al., CMNeXt (CVPR 2023), arXiv 2303.01480', 'licence': 'MIT (ours, from the equations); original: Apache-2.0, README: commercial use, contact the authors'},
    "cmx": {'family': 'cross-modal', 'interaction': 'exchange', 'params': 178370, 'paper': 'Zhang et al., CMX (T-ITS 2023), arXiv 2203.04838', 'licence': 'MIT (ours, from the equations); original: MIT'},
    "concat": {'family': 'concat', 'interaction': 'none', 'params': 8320, 'paper': '', 'licence': 'MIT (ours)'},
    "cross_attention": {'family': 'cross-modal', 'interaction': 'none', 'params': 25408, 'paper': 'Shen et al., Efficient Attention (WACV 2021), for the attention', 'licence': 'MIT (ours)'},
    "dformer": {'family': 'hybrid', 'interaction': 'exchange', 'params': 80832, 'paper': 'Yin et al., DFormer (ICLR 2024), arXiv 2309.09668', 'licence': 'MIT (ours, from the equations); original: MIT file, README: non-commercial use only'},
    "eaef": {'family': 'attention', 'interaction': 'exchange', 'params': 31563, 'paper': 'Liang et al., EAEF (RA-L 2023), arXiv 2303.15710', 'licence': 'MIT (ours, from the equations); original: README badge says MIT, no licence file'},
    "emsaformer": {'family': 'concat', 'interaction': 'none', 'params': 4288, 'paper': 'Fischedick et al., EMSAFormer (IJCNN 2023), arXiv 2306.05242', 'licence': 'MIT (ours, from the equations); original: Apache-2.0'},
    "gate": {'family': 'attention', 'interaction': 'none', 'params': 2192, 'paper': '', 'licence': 'MIT (ours)'},
    "gemini": {'family': 'cross-modal', 'interaction': 'exchange', 'params': 45952, 'paper': 'Jia et al., GeminiFusion (ICML 2024), arXiv 2406.01210', 'licence': 'MIT (ours, from the equations); original: MIT file, NVIDIA non-commercial header on mix_transformer.py'},
    "hybrid": {'family': 'hybrid', 'interaction': 'none', 'params': 16083, 'paper': 'rule: Chen et al., arXiv 2308.10019; block ours', 'licence': 'MIT (ours)'},
    "sagate": {'family': 'attention', 'interaction': 'exchange', 'params': 1930, 'paper': 'Chen et al., SA-Gate (ECCV 2020), arXiv 2007.09183', 'licence': 'MIT (ours, from the equations); original: MIT'},
    "se_add": {'family': 'attention', 'interaction': 'exchange', 'params': 1160, 'paper': 'Seichter et al., ESANet (ICRA 2021), arXiv 2011.06961', 'licence': 'MIT (ours, from the equations); original: Apache-2.0'},
    "se_add_uni_rgb": {'family': 'attention', 'interaction': 'inject', 'params': 1160, 'paper': 'Seichter et al., ESANet (ICRA 2021), arXiv 2011.06961; EMSANet (IJCNN 2022), arXiv 2207.04526', 'licence': 'MIT (ours, from the equations); original: Apache-2.0'},
    "shapeconv": {'family': 'concat', 'interaction': 'none', 'params': 84225, 'paper': 'Cao et al., ShapeConv (ICCV 2021), arXiv 2108.10528, for the layer', 'licence': 'MIT (ours, from the equations); original: Apache-2.0'},
    "spnet": {'family': 'attention', 'interaction': 'none', 'params': 221888, 'paper': 'Zhou et al., SPNet (ICCV 2021), arXiv 2108.08162', 'licence': 'MIT (ours, from the equations); original: no licence stated'},
    "sum": {'family': 'concat', 'interaction': 'none', 'params': 0, 'paper': '', 'licence': 'MIT (ours)'},
    "token_exchange": {'family': 'exchange', 'interaction': 'exchange', 'params': 13860, 'paper': 'Wang et al., TokenFusion (CVPR 2022), arXiv 2204.08721', 'licence': 'MIT (ours, from the equations); original: MIT file, NVIDIA non-commercial header on mix_transformer.py'},
}
BASELINES: list[str] = [
    "rgb_only",
    "x_only",
    "early",
    "late",
]
PUBLISHED: list[str] = [
]
ENCODERS: list[str] = [
    "mobilenetv1-025",
    "mobilenetv1-050",
    "mobilenetv1-075",
    "mobilenetv1-100",
    "resnet18",
    "resnet50",
    "mit-b0",
    "mit-b2",
]
DECODERS: list[str] = [
    "fpn",
    "unet",
    "segformer",
    "upernet",
]
