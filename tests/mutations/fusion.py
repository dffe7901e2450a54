"""The fusion strategies. See tests/mutants.py."""

# fmt: off
MUTANTS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("tests/fusion/test_hybrid.py::test_hybrid_equals_its_equations", "fusionzoo/fusion/hybrid.py", [
        ("leave = 1 - self.lean", "leave = 1 + self.lean"),
        ("self.specify_rgb(e_r)) * (k_r * leave)", "self.specify_rgb(e_r)) * (k_d * leave)"),
        ("self.specify_x(e_d)) * (k_d * leave)", "self.specify_x(e_d)) * (k_r * leave)"),
        ("+ self.plain_rgb * r + self.plain_x * d", "+ self.plain_x * r + self.plain_rgb * d"),
        ("e_r, e_d = r - self.unshare(s_r), d - self.unshare(s_d)",
         "e_r, e_d = r + self.unshare(s_r), d - self.unshare(s_d)"),
        ("spread * (s_r + s_d) / 2", "spread * (s_r + s_d)"),
        ("(dot * (uu * vv + 1e-6).rsqrt()).clamp(0, 1)", "(dot * (uu * vv + 1e-6).rsqrt()).abs().clamp(0, 1)"),
        ("torch.cat([consistent, p_r, p_d], dim=1)", "torch.cat([consistent, p_d, p_r], dim=1)"),
        ("correlation(p_r, s_r) + correlation(p_d, s_d)", "correlation(p_r, s_d) + correlation(p_d, s_r)"),
        ('return {"consistency": consistency,', 'return {"consistency": 2 * consistency,'),
    ]),
    ("tests/fusion/test_hybrid.py::test_the_confidences_get_no_gradient_from_the_consistency",
     "fusionzoo/fusion/hybrid.py", [
        ('(seen["confidence_rgb"] * seen["confidence_x"]).detach()', '(seen["confidence_rgb"] * seen["confidence_x"])'),
    ]),
    ("tests/fusion/test_concat.py::test_concat_equals_its_equation", "fusionzoo/fusion/concat.py", [
        ("torch.cat([rgb, x], dim=1)", "torch.cat([x, rgb], dim=1)"),
        ("self.project(both)).relu()", "self.project(both))"),
    ]),
    ("tests/fusion/test_sum.py::test_sum_equals_its_equation_and_keeps_the_streams", "fusionzoo/fusion/sum.py", [
        ("Fused(rgb, x, rgb + x)", "Fused(rgb, x, rgb - x)"),
    ]),
    ("tests/fusion/test_addition.py::test_rgb_carries_on_with_the_sum_and_x_stays_pure",
     "fusionzoo/fusion/addition.py", [
        ("Fused(fused, x, fused)", "Fused(rgb, x, fused)"),
        ('fused = rgb + x\n', 'fused = (rgb + x) / 2\n'),
    ]),
    ("tests/fusion/test_gate.py::test_gate_equals_its_equations", "fusionzoo/fusion/gate.py", [
        ("gate_rgb * rgb + gate_x * x", "gate_x * rgb + gate_rgb * x"),
        ("hidden = max(8, channels // reduction)", "hidden = max(4, channels // reduction)"),
    ]),
    ("tests/fusion/test_film.py::test_film_equals_its_equation", "fusionzoo/fusion/film.py", [
        ("self.scale(1 + gamma)", "self.scale(gamma)"),
        ("gamma, beta = self.condition", "beta, gamma = self.condition"),
        ("Fused(fused, x, fused)", "Fused(rgb, x, fused)"),
    ]),
    ("tests/fusion/test_se_add.py::test_se_add_equals_its_equations", "fusionzoo/fusion/se_add.py", [
        ("self.weighted_rgb(rgb * gate_rgb)", "self.weighted_rgb(rgb * gate_x)"),
        ("return Fused(fused, fused, fused)", "return Fused(fused, x, fused)"),
        ("return Fused(fused, x, fused)", "return Fused(fused, fused, fused)"),
    ]),
    ("tests/fusion/test_cross_attention.py::test_cross_attention_equals_its_equations",
     "fusionzoo/fusion/cross_attention.py", [
        ("r + self.scale_rgb * self.to_rgb(r, d)", "r + self.scale_rgb * self.to_rgb(r, r)"),
        ("q.softmax(dim=-2)", "q.softmax(dim=-1)"),
        ("d + self.scale_x * self.to_x(d, r)", "d + self.scale_rgb * self.to_x(d, r)"),
    ]),
    ("tests/fusion/test_low_rank_tensor.py::test_low_rank_fusion_is_a_product_of_every_pair",
     "fusionzoo/fusion/low_rank_tensor.py", [
        ("self.product(left * right)", "self.product(left + right)"),
        (" + self.bias.view(-1, 1, 1)", ""),
    ]),
    ("tests/fusion/test_channel_exchange.py::test_cen_bottleneck_is_two_resnet_bottlenecks_with_exchanged_channels",
     "fusionzoo/fusion/channel_exchange.py", [
        ("torch.where(swap_x > 0.5, rgb, x)", "torch.where(swap_rgb > 0.5, rgb, x)"),
    ]),
    ("tests/fusion/test_channel_exchange.py::test_channel_exchange_equals_its_equations",
     "fusionzoo/fusion/channel_exchange.py", [
        ("(norm.weight.abs() < self.threshold)", "(norm.weight < self.threshold)"),
    ]),
    ("tests/fusion/test_channel_exchange.py::test_channel_exchange_penalty_and_start",
     "fusionzoo/fusion/channel_exchange.py", [
        ("self.x.weight[half:].abs().sum()", "self.x.weight[:half].abs().sum()"),
        ("2e-4 * self.exchange", "1e-4 * self.exchange"),
    ]),
    ("tests/fusion/test_token_exchange.py::test_token_exchange_equals_its_equations",
     "fusionzoo/fusion/token_exchange.py", [
        ("torch.where(keep_rgb < self.threshold, x, rgb)", "torch.where(keep_rgb > self.threshold, x, rgb)"),
        ('rgb, x = rgb * keep_rgb, x * keep_x\n', 'pass\n'),
        ("self.score_rgb(first)[..., :1]", "self.score_rgb(first)[..., 1:]"),
    ]),
    ("tests/fusion/test_cddfuse.py::test_cddfuse_equals_its_equations", "fusionzoo/fusion/cddfuse.py", [
        ("count_include_pad=False", "count_include_pad=True"),
        ("apart / (1.01 +", "apart / (1.01 -"),
    ]),
    ("tests/fusion/test_xmsnet.py::test_xmsnet_equals_its_equations", "fusionzoo/fusion/xmsnet.py", [
        ("self.common(rgb * x)", "self.common(rgb + x)"),
        ("self.specific(2 * share", "self.specific(share"),
    ]),
    ("tests/fusion/test_shaspec.py::test_shaspec_equals_its_equations", "fusionzoo/fusion/shaspec.py", [
        ("s_x + self.compose(torch.cat([s_x, p_x], dim=1))", "s_x + self.compose(torch.cat([s_x, p_rgb], dim=1))"),
        ('"specific": 0.02 * told', '"specific": 0.2 * told'),
    ]),
    ("tests/fusion/test_torchmultimodal.py::test_attention_fusion_equals_its_equation",
     "fusionzoo/fusion/torchmultimodal.py", [
        ("self.score(torch.cat(values, dim=-1)).softmax(dim=-1)", "self.score(torch.cat(values, dim=-1)).sigmoid()"),
    ]),
    ("tests/fusion/test_mfnet.py::test_mfnet_equals_its_equation", "fusionzoo/fusion/mfnet.py", [
        ("F.leaky_relu(joined, 0.2)", "F.leaky_relu(joined, 0.02)"),
    ]),
    ("tests/fusion/test_emsaformer.py::test_emsaformer_equals_its_equation", "fusionzoo/fusion/emsaformer.py", [
        ("self.norm_x(self.embed_x(x)", "self.norm_x(self.embed_x(x + 0 * x.mean()).relu()"),
    ]),
    ("tests/fusion/test_acnet.py::test_acnet_equals_its_equation", "fusionzoo/fusion/acnet.py", [
        ("gated_sum(rgb, gate_rgb, x, gate_x)", "gated_sum(rgb, gate_x, x, gate_rgb)"),
    ]),
    ("tests/fusion/test_shapeconv.py::test_shapeconv_starts_as_a_plain_convolution_and_folds",
     "fusionzoo/fusion/shapeconv.py", [
        ("self.base / self.positions - matrix.mean", "1 / self.positions - matrix.mean"),
    ]),
    ("tests/fusion/test_sagate.py::test_sagate_equals_its_equations", "fusionzoo/fusion/sagate.py", [
        ("self.separate_rgb(x, rgb), self.separate_x(rgb, x)", "self.separate_rgb(rgb, x), self.separate_x(x, rgb)"),
        ("(x + merged).div_(2).relu_(), merged", "(x + merged).div_(2), merged"),
    ]),
    ("tests/fusion/test_concat.py::test_concat_equals_its_equation", "fusionzoo/fusion/base.py", [
        ("return Fused(self.rgb_out(rgb), self.x_out(x), self.fused(fused))",
         "return Fused(self.rgb_out(rgb), self.rgb_out(x), self.fused(fused))"),
    ]),
    ("tests/fusion/test_gemini.py::test_two_token_attention_is_multi_head_attention", "fusionzoo/fusion/gemini.py", [
        ("own * v + other * w", "own * w + other * v"),
    ]),
    ("tests/fusion/test_cmx.py::test_rectification_reads_the_other_stream_with_index_one_for_rgb",
     "fusionzoo/fusion/cmx.py", [
        ("torch.addcmul(rgb, into_rgb, x), torch.addcmul(x, into_x, rgb)",
         "torch.addcmul(rgb, into_x, x), torch.addcmul(x, into_rgb, rgb)"),
    ]),
    ("tests/fusion/test_hybrid_trust.py::test_it_equals_its_equations", "fusionzoo/fusion/hybrid_trust.py", [
        ("2 * agree * (trust[:, :1] * s_rgb + trust[:, 1:] * s_x)",
         "2 * agree * (trust[:, 1:] * s_rgb + trust[:, :1] * s_x)"),
        ("((1 + agree) / 2)", "(agree.clamp(0, 1))"),
        ("rgb + self.give_x(p_x), x + self.give_rgb(p_rgb)", "rgb + self.give_x(p_rgb), x + self.give_rgb(p_x)"),
        ("self.factor_rgb(p_rgb) * self.factor_x(p_x)", "self.factor_rgb(p_rgb) + self.factor_x(p_x)"),
    ]),
    ("tests/fusion/test_hybrid_trust.py::test_what_is_left_out_has_no_parameters", "fusionzoo/fusion/hybrid_trust.py", [
        ("exchange and private and self.level", "private and self.level"),
    ]),
    ("tests/fusion/test_hybrid_exchange.py::test_it_equals_its_equations", "fusionzoo/fusion/hybrid_exchange.py", [
        ("rgb + self.given_x(self.give_x(x)), x + self.given_rgb(self.give_rgb(rgb))",
         "rgb + self.given_x(self.give_x(rgb)), x + self.given_rgb(self.give_rgb(x))"),
    ]),
    ("tests/fusion/test_prompt.py::test_token_attention_is_pytorchs_with_the_whole_heads_scale",
     "fusionzoo/fusion/prompt.py", [
        ("(channels // heads) ** -0.5", "(channels // heads // 32) ** -0.5"),
        ("nn.LayerNorm(width, eps=1e-6)", "nn.LayerNorm(width, eps=1e-2)"),
    ]),
    ("tests/fusion/test_prompt.py::test_x_carries_on_with_the_prompt_alone", "fusionzoo/fusion/prompt.py", [
        ("Fused(told, prompt, told)", "Fused(told, x + prompt, told)"),
        ("self.reduce_x(x) + self.reduce_rgb(rgb)", "self.reduce_x(rgb) + self.reduce_rgb(x)"),
    ]),
    ("tests/fusion/test_prompt.py::test_a_new_model_is_its_rgb_encoder", "fusionzoo/fusion/prompt.py", [
        ("    nn.init.zeros_(layer.weight)\n", ""),
    ]),
    ("tests/fusion/test_stitchfusion.py::test_mix_equals_its_equations", "fusionzoo/fusion/stitchfusion.py", [
        ("+ gate * z", "+ gate * u"),
        ("u = u + sum(", "u = sum("),
    ]),
    ("tests/fusion/test_stitchfusion.py::test_adapters_give_every_stream_what_the_others_have",
     "fusionzoo/fusion/stitchfusion.py", [
        ("if self.in_order and self.names:", "if self.names:"),
        ('if variant == "directed" else (min(i, j), max(i, j))', "if variant else (min(i, j), max(i, j))"),
    ]),
    ("tests/fusion/test_tuni.py::test_agreement_and_difference_by_hand", "fusionzoo/fusion/tuni.py", [
        ("(p - q).abs()", "(p - q)"),
        ("mean = flat.mean(dim=1, keepdim=True)", "mean = flat[:, :1]"),
        ("z = torch.cat([agree, differ], dim=1)", "z = torch.cat([differ, agree], dim=1)"),
    ]),
    ("tests/fusion/test_tuni.py::test_what_stands_in_for_the_last_update", "fusionzoo/fusion/tuni.py", [
        ("cross if self.version == 1 else e", "cross if self.version == 2 else e"),
    ]),
    ("tests/fusion/test_hdbformer.py::test_hdbformer_equals_its_equations", "fusionzoo/fusion/hdbformer.py", [
        ("gelu(self.lift(c))", "relu(self.lift(c))"),
        ("shown.x_local(self._local(e, c))", "shown.x_local(self._local(c, e))"),
    ]),
    ("tests/fusion/test_dformerv2.py::test_geometry_bias_by_hand", "fusionzoo/fusion/dformerv2.py", [
        ("[:, None].expand(height, width)", ".expand(width, height)"),
    ]),
    ("tests/fusion/test_base.py::test_what_fuse_returns_is_checked", "fusionzoo/fusion/base.py", [
        (" or [v.shape for v in out] != [size] * 3", ""),
    ]),
]
# fmt: on
