"""Names and facts of fusion strategies and architectures. Generated: python -m fusionzoo.cli.make_index"""

from __future__ import annotations

from typing import Any

# fmt: off
# ruff: noqa: E501
FUSIONS: dict[str, dict[str, Any]] = {
    "acnet": {'family': 'attention', 'interaction': 'none', 'params': 8320, 'paper': 'Hu et al., ACNet (ICIP 2019), arXiv 1905.10089', 'licence': 'MIT (ours, from the equations); original: no licence stated'},
    "asymformer": {'family': 'hybrid', 'interaction': 'exchange', 'params': 23200, 'paper': 'Du et al., AsymFormer (CVPRW 2024), arXiv 2309.14065', 'licence': 'MIT (ours, from the equations); original: Apache-2.0'},
    "attention_fusion": {'family': 'attention', 'interaction': 'none', 'params': 8578, 'paper': 'TorchMultimodal AttentionFusionModule (github.com/facebookresearch/multimodal)', 'licence': 'MIT (ours, from the equations); original: BSD-3-Clause'},
    "cddfuse": {'family': 'hybrid', 'interaction': 'none', 'params': 16512, 'paper': 'loss and rule: Zhao et al., CDDFuse (CVPR 2023), arXiv 2211.14461; block ours', 'licence': 'MIT (ours)'},
    "channel_exchange": {'family': 'exchange', 'interaction': 'exchange', 'params': 256, 'paper': 'Wang et al., CEN (NeurIPS 2020), arXiv 2011.05005', 'licence': "MIT (ours, from the equations); original: MIT, model.py with a 'non-commercial' BSD title"},
    "cmnext": {'family': 'cross-modal', 'interaction': 'exchange', 'params': 257349, 'paper': 'Zhang et al., CMNeXt (CVPR 2023), arXiv 2303.01480', 'licence': 'MIT (ours, from the equations); original: Apache-2.0, README: commercial use, contact the authors'},
    "cmx": {'family': 'cross-modal', 'interaction': 'exchange', 'params': 178370, 'paper': 'Zhang et al., CMX (T-ITS 2023), arXiv 2203.04838', 'licence': 'MIT (ours, from the equations); original: MIT'},
    "concat": {'family': 'concat', 'interaction': 'none', 'params': 8320, 'paper': '', 'licence': 'MIT (ours)'},
    "cross_attention": {'family': 'cross-modal', 'interaction': 'none', 'params': 25408, 'paper': 'Shen et al., Efficient Attention (WACV 2021), for the attention', 'licence': 'MIT (ours)'},
    "dformer": {'family': 'hybrid', 'interaction': 'exchange', 'params': 80832, 'paper': 'Yin et al., DFormer (ICLR 2024), arXiv 2309.09668', 'licence': 'MIT (ours, from the equations); original: MIT file, README: non-commercial use only'},
    "dformerv2": {'family': 'attention', 'interaction': 'inject', 'params': 54915, 'paper': 'Yin et al., DFormerv2 (CVPR 2025), arXiv 2504.04701', 'licence': 'MIT (ours, from the equations); original: MIT file, README: non-commercial use only'},
    "eaef": {'family': 'attention', 'interaction': 'exchange', 'params': 31563, 'paper': 'Liang et al., EAEF (RA-L 2023), arXiv 2303.15710', 'licence': 'MIT (ours, from the equations); original: README badge says MIT, no licence file'},
    "emsaformer": {'family': 'concat', 'interaction': 'none', 'params': 4288, 'paper': 'Fischedick et al., EMSAFormer (IJCNN 2023), arXiv 2306.05242', 'licence': 'MIT (ours, from the equations); original: Apache-2.0'},
    "film": {'family': 'cross-modal', 'interaction': 'inject', 'params': 8320, 'paper': 'Perez et al., FiLM (AAAI 2018), arXiv 1709.07871', 'licence': 'MIT (ours, from the equation)'},
    "fusenet": {'family': 'concat', 'interaction': 'inject', 'params': 0, 'paper': 'Hazirbas et al., FuseNet (ACCV 2016)', 'licence': 'MIT (ours, from the equation); original: BSD-2-Clause (Caffe), its changes GPL-3.0'},
    "gate": {'family': 'attention', 'interaction': 'none', 'params': 2192, 'paper': '', 'licence': 'MIT (ours)'},
    "gemini": {'family': 'cross-modal', 'interaction': 'exchange', 'params': 45952, 'paper': 'Jia et al., GeminiFusion (ICML 2024), arXiv 2406.01210', 'licence': 'MIT (ours, from the equations); original: MIT file, NVIDIA non-commercial header on mix_transformer.py'},
    "hdbformer": {'family': 'cross-modal', 'interaction': 'none', 'params': 31936, 'paper': 'Wei et al., HDBFormer (SPL 2025), arXiv 2504.13579', 'licence': 'MIT (ours, from the equations); original: CC BY-NC-SA 4.0'},
    "hybrid": {'family': 'hybrid', 'interaction': 'none', 'params': 16083, 'paper': 'rule: Chen et al., arXiv 2308.10019; block ours', 'licence': 'MIT (ours)'},
    "hybrid_exchange": {'family': 'hybrid', 'interaction': 'exchange', 'params': 12480, 'paper': '', 'licence': 'MIT (ours)'},
    "hybrid_trust": {'family': 'hybrid', 'interaction': 'exchange', 'params': 19072, 'paper': 'rule: Chen et al., arXiv 2308.10019; block ours', 'licence': 'MIT (ours)'},
    "low_rank_tensor": {'family': 'cross-modal', 'interaction': 'none', 'params': 33348, 'paper': 'Liu et al., LMF (ACL 2018), arXiv 1806.00064', 'licence': 'MIT (ours, from the equation)'},
    "mfnet": {'family': 'concat', 'interaction': 'none', 'params': 73920, 'paper': 'Ha et al., MFNet (IROS 2017)', 'licence': 'MIT (ours, from the equation); PyTorch port: no licence stated'},
    "mmsformer": {'family': 'attention', 'interaction': 'none', 'params': 31168, 'paper': 'Reza et al., MMSFormer (IEEE OJSP 2024), arXiv 2309.04001', 'licence': 'MIT (ours, from the equations); in StitchFusion: Apache-2.0, README: commercial use, contact the authors'},
    "prompt": {'family': 'cross-modal', 'interaction': 'exchange', 'params': 3168, 'paper': 'Dong et al., DPLNet (IROS 2024), arXiv 2312.00360', 'licence': 'MIT (ours, from the equations); original: no licence stated, NVIDIA header in parts'},
    "rednet": {'family': 'concat', 'interaction': 'inject', 'params': 0, 'paper': 'Jiang et al., RedNet (2018), arXiv 1806.01054', 'licence': 'MIT (ours, from the equation); original: CC BY-NC 4.0'},
    "rtfnet": {'family': 'concat', 'interaction': 'inject', 'params': 0, 'paper': 'Sun et al., RTFNet (RA-L 2019)', 'licence': 'MIT (ours, from the equation); original: MIT'},
    "sagate": {'family': 'attention', 'interaction': 'exchange', 'params': 1930, 'paper': 'Chen et al., SA-Gate (ECCV 2020), arXiv 2007.09183', 'licence': 'MIT (ours, from the equations); original: MIT'},
    "se_add": {'family': 'attention', 'interaction': 'exchange', 'params': 1160, 'paper': 'Seichter et al., ESANet (ICRA 2021), arXiv 2011.06961', 'licence': 'MIT (ours, from the equations); original: Apache-2.0'},
    "se_add_uni_rgb": {'family': 'attention', 'interaction': 'inject', 'params': 1160, 'paper': 'Seichter et al., ESANet (ICRA 2021), arXiv 2011.06961; EMSANet (IJCNN 2022), arXiv 2207.04526', 'licence': 'MIT (ours, from the equations); original: Apache-2.0'},
    "shapeconv": {'family': 'concat', 'interaction': 'none', 'params': 84225, 'paper': 'Cao et al., ShapeConv (ICCV 2021), arXiv 2108.10528, for the layer', 'licence': 'MIT (ours, from the equations); original: Apache-2.0'},
    "shaspec": {'family': 'hybrid', 'interaction': 'none', 'params': 86530, 'paper': 'composition and losses: Wang et al., ShaSpec (CVPR 2023), arXiv 2307.14126; block ours', 'licence': 'MIT (ours, from the equations); original: no licence found'},
    "sigma": {'family': 'cross-modal', 'interaction': 'exchange', 'params': 85760, 'paper': 'Wan et al., Sigma (WACV 2025), arXiv 2404.04256', 'licence': 'MIT (ours, from the equations); original: MIT'},
    "spnet": {'family': 'attention', 'interaction': 'none', 'params': 221888, 'paper': 'Zhou et al., SPNet (ICCV 2021), arXiv 2108.08162', 'licence': 'MIT (ours, from the equations); original: no licence stated'},
    "sum": {'family': 'concat', 'interaction': 'none', 'params': 0, 'paper': '', 'licence': 'MIT (ours)'},
    "token_exchange": {'family': 'exchange', 'interaction': 'exchange', 'params': 13860, 'paper': 'Wang et al., TokenFusion (CVPR 2022), arXiv 2204.08721', 'licence': 'MIT (ours, from the equations); original: MIT file, NVIDIA non-commercial header on mix_transformer.py'},
    "tuni": {'family': 'hybrid', 'interaction': 'exchange', 'params': 84480, 'paper': 'Guo et al., TUNI (2025), arXiv 2509.10005', 'licence': 'MIT (ours, from the equations); original: no licence stated'},
    "xmsnet": {'family': 'hybrid', 'interaction': 'none', 'params': 18638, 'paper': 'idea: Wu et al., XMSNet (ACM MM 2023), arXiv 2305.10469; equations ours', 'licence': 'MIT (ours)'},
}
BASELINES: list[str] = [
    "rgb_only", "x_only", "early", "late",
]
PUBLISHED: list[str] = [
    "acnet_resnet50", "asymformer_b0t", "cen_resnet50", "cen_resnet101", "cen_resnet152", "cmnext_mit_b0",
    "cmnext_mit_b1", "cmnext_mit_b2", "cmnext_mit_b3", "cmnext_mit_b4", "cmnext_mit_b5", "cmx_mit_b0", "cmx_mit_b1",
    "cmx_mit_b2", "cmx_mit_b3", "cmx_mit_b4", "cmx_mit_b5", "dformer_base", "dformer_large", "dformer_small",
    "dformer_tiny", "dformerv2_b", "dformerv2_l", "dformerv2_s", "dplnet_mit_b0", "dplnet_mit_b1", "dplnet_mit_b2",
    "dplnet_mit_b3", "dplnet_mit_b4", "dplnet_mit_b5", "dveformer", "dveformer_reduced", "emsaformer",
    "emsaformer_emsanet", "esanet_r18", "esanet_r18_nbt1d", "esanet_r34", "esanet_r34_nbt1d", "esanet_r50",
    "gemini_mit_b0", "gemini_mit_b1", "gemini_mit_b2", "gemini_mit_b3", "gemini_mit_b4", "gemini_mit_b5",
    "gemini_swin_large", "gemini_swin_large_384", "gemini_swin_small", "gemini_swin_tiny", "hdbformer_swin_base",
    "mfnet", "multimae_base", "multimae_large", "multimae_tiny", "rednet_resnet34", "rednet_resnet50",
    "rednet_resnet101", "rtfnet_r18", "rtfnet_r34", "rtfnet_r50", "rtfnet_r101", "rtfnet_r152", "sagate_resnet50",
    "sagate_resnet101", "sigma_base", "sigma_small", "sigma_tiny", "stitchfusion_mit_b0", "stitchfusion_mit_b1",
    "stitchfusion_mit_b2", "stitchfusion_mit_b3", "stitchfusion_mit_b4", "stitchfusion_mit_b5", "tokenfusion_mit_b0",
    "tokenfusion_mit_b1", "tokenfusion_mit_b2", "tokenfusion_mit_b3", "tokenfusion_mit_b4", "tokenfusion_mit_b5",
    "tuni_s", "tuni_v2_b", "tuni_v2_s", "tuni_v2_t",
]
ENCODERS: list[str] = [
    "mobilenetv1-025", "mobilenetv1-050", "mobilenetv1-075", "mobilenetv1-100", "resnet18", "resnet50", "mit-b0",
    "mit-b2",
]
DECODERS: list[str] = [
    "fpn", "unet", "segformer", "upernet",
]
CONVERSIONS: list[str] = [
    "mobilenet_v1", "state_dict", "encoder", "acnet_resnet50", "asymformer_b0t", "cen_resnet50", "cen_resnet101",
    "cen_resnet152", "cmnext_mit_b0", "cmnext_mit_b1", "cmnext_mit_b2", "cmnext_mit_b3", "cmnext_mit_b4",
    "cmnext_mit_b5", "cmx_mit_b0", "cmx_mit_b1", "cmx_mit_b2", "cmx_mit_b3", "cmx_mit_b4", "cmx_mit_b5",
    "dformer_tiny", "dformer_small", "dformer_base", "dformer_large", "dformerv2_s", "dformerv2_b", "dformerv2_l",
    "dplnet_mit_b1", "dplnet_mit_b2", "dplnet_mit_b3", "dplnet_mit_b4", "dplnet_mit_b5", "dveformer",
    "dveformer_reduced", "emsaformer", "emsaformer_emsanet", "esanet_r18_nbt1d", "esanet_r34_nbt1d", "esanet_r18",
    "esanet_r34", "esanet_r50", "gemini_mit_b0", "gemini_mit_b1", "gemini_mit_b2", "gemini_mit_b3", "gemini_mit_b4",
    "gemini_mit_b5", "gemini_swin_tiny", "gemini_swin_small", "gemini_swin_large", "gemini_swin_large_384",
    "hdbformer_swin_base", "mfnet", "multimae_base", "multimae_large", "rednet_resnet50", "rtfnet_r18", "rtfnet_r34",
    "rtfnet_r50", "rtfnet_r101", "rtfnet_r152", "sagate_resnet50", "sagate_resnet101", "sigma_tiny", "sigma_small",
    "sigma_base", "stitchfusion_mit_b0", "stitchfusion_mit_b1", "stitchfusion_mit_b2", "stitchfusion_mit_b3",
    "stitchfusion_mit_b4", "stitchfusion_mit_b5", "tokenfusion_mit_b0", "tokenfusion_mit_b1", "tokenfusion_mit_b2",
    "tokenfusion_mit_b3", "tokenfusion_mit_b4", "tokenfusion_mit_b5", "tuni_s", "tuni_v2_t", "tuni_v2_s", "tuni_v2_b",
]
