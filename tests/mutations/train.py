"""Training. See tests/mutants.py."""

# fmt: off
MUTANTS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("tests/train/test_joint.py::test_the_gradient_is_the_sum_of_both_tasks", "fusionzoo/train/losses.py", [
        ("return losses / len(scene)", "return losses / (scene != ignore_index).sum()"),
    ]),
    ("tests/train/test_joint.py::test_the_data_decides_what_a_checkpoint_goes_on_to_say", "fusionzoo/train/start.py", [
        ("model, told = scenes_alone(model), ", "told = "),
    ]),
    ("tests/train/test_start.py::test_an_error_in_the_first_epoch_leaves_nothing_in_the_way",
     "fusionzoo/train/state.py", [
        ("if not names <= {SETTINGS,", "if False and not names <= {SETTINGS,"),
    ]),
    ("tests/train/test_optim.py::test_dropout_takes_either_modality_as_often_and_never_both",
     "fusionzoo/train/dropout.py", [
        ("x.masked_fill(draw > 1 - probability / 2, 0.0)", "x"),
    ]),
    ("tests/train/test_optim.py::test_a_run_drops_modalities_as_asked", "fusionzoo/train/dropout.py", [
        ("rgb.masked_fill(draw < probability / 2, 0.0), x.masked_fill(draw > 1 - probability / 2, 0.0)",
         "rgb.masked_fill(draw < probability, 0.0), x"),
    ]),
    ("tests/train/test_optim.py::test_encoders_from_given_weights_learn_at_their_own_rate",
     "fusionzoo/train/optim.py", [
        ("(encoder_lr if is_slow else lr)", "lr"),
        ("slow, encoder_lr = encoder_parts(model).values(),", "slow, encoder_lr = (),"),
    ]),
    ("tests/train/test_freeze.py::test_every_parameter_of_every_model_is_in_one_group", "fusionzoo/train/optim.py", [
        ("len(seq) - 1 - i for seq", "i for seq"),
        ("        if p.requires_grad:\n", "        if p.ndim > 1:\n"),
    ]),
    ("tests/train/test_freeze.py::test_a_layer_is_a_block_where_the_encoder_names_its_blocks_one_by_one",
     "fusionzoo/models/parts.py", [
        ('inside=not hasattr(part, "blocks")', "inside=False"),
        ('inside=not hasattr(part, "blocks")', "inside=True"),
        ("if _numbered(module) else", "if False else"),
    ]),
    ("tests/train/test_freeze.py::test_a_warm_up_of_the_whole_run_and_a_rate_for_one_frozen_encoder_of_two",
     "fusionzoo/train/ready.py", [
        ("(settings.warmup or 0) > steps", "(settings.warmup or 0) >= steps"),
        ("== len(encoder_parts(model))", "> 0"),
    ]),
    ("tests/train/test_freeze.py::test_what_is_frozen_keeps_weights_and_statistics", "fusionzoo/train/freeze.py", [
        ("            module.eval()", "            module.train()"),
        ("if name not in heads and not", "if name in heads and not"),
        ("    return out\n", "    return out[:1]\n"),
    ]),
    ("tests/train/test_freeze.py::test_rows_of_equal_names_are_kept_on_request", "fusionzoo/train/start.py", [
        ("reset_classes(model, theirs, keep=keep_head)", "reset_classes(model, theirs)"),
    ]),
    ("tests/train/test_optim.py::test_rates_of_encoders_and_of_the_rest", "fusionzoo/train/optim.py", [
        ("(GIVEN_SHARE if settings.init else 1.0)", "GIVEN_SHARE"),
    ]),
    ("tests/train/test_resume.py::test_rates_clipping_and_precision_may_change_and_that_is_said",
     "fusionzoo/train/state.py", [
        ('            group["lr"] = group["initial_lr"] = rate\n', "            pass\n"),
    ]),
    ("tests/train/test_sides.py::test_a_step_loses_the_main_loss_and_the_mean_of_the_sides_by_the_factor",
     "fusionzoo/train/epoch.py", [
        ("torch.stack(found).mean()", "torch.stack(found).sum()"), ("loss + given[SIDE] * sides", "loss + sides"),
    ]),
    ("tests/train/test_sides.py::test_parts_and_processes_lose_what_a_batch_loses", "fusionzoo/train/epoch.py", [
        ("share = criterion.share(on_side_grid(self.label,", "share = criterion.share(on_side_grid(label,"),
        ("self.shares[size] = self.plan.processes.sum(share)", "self.shares[size] = share"),
    ]),
    ("tests/train/test_optim.py::test_decay_shrinks_matrices_and_leaves_vectors", "fusionzoo/train/optim.py", [
        ("({} if is_matrix else", "({} if not is_matrix else"),
    ]),
    ("tests/train/test_optim.py::test_gradients_are_clipped_before_every_step", "fusionzoo/train/epoch.py", [
        ("plan.settings.clip or float(\"inf\")", 'float("inf")'),
    ]),
    ("tests/train/test_start.py::test_statistics_are_of_valid_pixels_alone", "fusionzoo/train/statistics.py", [
        ("        valid = ~missing_x(x, data.x_kind)", "        valid = torch.ones_like(x, dtype=torch.bool)"),
    ]),
    ("tests/train/test_start.py::test_statistics_equal_numpys_on_noise", "fusionzoo/train/statistics.py", [
        ("masked_fill(~valid, 0.0).flatten(1)", "masked_fill(~valid, 9.0).flatten(1)"),
        ("(sum(own) / len(own), max(own))", "(sum(own) / len(own), min(own))"),
    ]),
    ("tests/train/test_start.py::test_inverse_depth_is_normalised_by_the_inverse", "fusionzoo/train/statistics.py", [
        ("part.of(fed).reciprocal_()", "pass"),
    ]),
    ("tests/train/test_start.py::test_other_classes_get_a_new_head_and_all_else_is_kept", "fusionzoo/train/start.py", [
        ("    if ours == theirs:", "    if len(ours) == len(theirs):"),
    ]),
    ("tests/train/test_start.py::test_another_strategy_begins_with_the_encoders_of_a_checkpoint",
     "fusionzoo/train/start.py", [
        ('"rgb_encoder" if name.startswith("fused") else _input_of(name)', '"rgb_encoder"'),
        ("**neutral} if lent is None else lent.preprocess", "**neutral}"),
    ]),
    ("tests/train/test_start.py::test_a_run_goes_on_with_the_normalisation_that_it_began_with",
     "fusionzoo/train/state.py", [
        ('for key in ("rgb_mean", "rgb_std", "x_mean", "x_std")', 'for key in ("rgb_mean", "rgb_std")'),
    ]),
    ("tests/train/test_start.py::test_another_strategy_begins_with_the_encoders_of_a_checkpoint",
     "fusionzoo/train/loop.py", [
        ("new=before is None)", "new=given is None)"),
    ]),
    ("tests/train/test_start.py::test_depth_is_made_grey_as_check_and_predict_do", "fusionzoo/train/start.py", [
        ('    if new:\n', '    if not new:\n'),
    ]),
    ("tests/train/test_start.py::test_images_without_depth_are_named_skipped_or_kept", "fusionzoo/data/validate.py", [
        ("if i not in gone]", "if i in gone]"),
    ]),
    ("tests/train/test_optim.py::test_average_follows", "fusionzoo/train/average.py", [
        ("[theirs[k] for k in floats], 1 - decay)", "[theirs[k] for k in floats], decay)"),
        ('    decay = min(decay, (1 + step) / (10 + step))\n', ""),
    ]),
    ("tests/train/test_start.py::test_images_of_several_sizes_train_and_validate", "fusionzoo/train/loop.py", [
        ("publish(average, out,", "publish(model, out,"),
    ]),
    ("tests/train/test_edges.py::test_the_folder_holds_the_best_after_every_epoch_and_only_then_changes",
     "fusionzoo/train/loop.py", [
        ("scores.miou > run.best)", "scores.miou < run.best)"),
    ]),
    ("tests/train/test_edges.py::test_weights_of_a_run_that_has_not_ended_lie_beside_its_state",
     "fusionzoo/train/loop.py", [
        ("            keeper.begin()  # weights beside", "            # weights beside"),
    ]),
    ("tests/train/test_train.py::test_resume_equals_an_unbroken_run", "fusionzoo/train/epoch.py", [
        ("torch.manual_seed(seed + AHEAD * (processes.rank + 1))", "torch.seed()"),
    ]),
    ("tests/train/test_edges.py::test_moved_and_renamed_data_resumes_and_other_images_do_not",
     "fusionzoo/train/state.py", [
        ("for k, v in settings.to_dict().items() if k not in Settings.free()",
         "for k, v in settings.to_dict().items()"),
    ]),
    ("tests/train/test_rule.py::test_both_terms_equal_their_equations", "fusionzoo/train/rule.py", [
        ("_correlation(z_rgb, z_x, 1 - both[classes])", "_correlation(z_rgb, z_x, both[classes])"),
        ("return torch.where(n > 1, (n * share - 1) / (n - 1).clamp(min=1), 0).clamp(0, 1)",
         "return torch.ones_like(n)"),
        ("apart = 1 - F.cosine_similarity(mean_rgb, mean_x, dim=1)",
         "apart = 1 + F.cosine_similarity(mean_rgb, mean_x, dim=1)"),
    ]),
    ("tests/train/test_rule.py::test_a_rare_class_is_not_taken_for_a_shared_one", "fusionzoo/train/rule.py", [
        ("return torch.where(n > 1, (n * share - 1) / (n - 1).clamp(min=1), 0).clamp(0, 1)",
         "return share.clamp(0, 1)"),
    ]),
    ("tests/train/test_train.py::test_a_strategy_trains_with_its_own_losses", "fusionzoo/train/epoch.py", [
        ("dict.fromkeys(auxiliary, 1.0) | run.model.loss_factors", "dict.fromkeys(auxiliary, 1.0)"),
        ("| run.model.loss_factors | settings.auxiliary", "| run.model.loss_factors"),
    ]),
    ("tests/train/test_rule.py::test_it_is_computed_in_float32_under_autocast", "fusionzoo/train/rule.py", [
        ("torch.autocast(label.device.type, enabled=False)", "torch.autocast(label.device.type, enabled=True)"),
    ]),
    ("tests/train/test_streams.py::test_the_loss_equals_its_equations", "fusionzoo/train/streams.py", [
        ("weight = count.clamp(min=1).rsqrt()[classes]", "weight = count.clamp(min=1)[classes]"),
        ('.masked_fill(count == 0, float("-inf"))', ""),
        ("TEMPERATURE = 0.1", "TEMPERATURE = 0.2"),
        ("torch.autocast(label.device.type, enabled=False)", "torch.autocast(label.device.type, enabled=True)"),
    ]),
    ("tests/train/test_streams.py::test_which_features_are_asked", "fusionzoo/train/streams.py", [
        ('if name != "fused"]', "]"),
        ("if names][-STAGES:]", "if names]"),
    ]),
    ("tests/train/test_streams.py::test_a_training_with_it_and_one_that_cannot", "fusionzoo/train/ready.py", [
        ("        TERMS[name].points(model)", "        pass"),
    ]),
    ("tests/train/test_streams.py::test_frozen_encoders_have_no_term", "fusionzoo/train/ready.py", [
        ("        asked += terms", "        pass"),
    ]),
    ("tests/train/test_streams.py::test_cells_have_the_classes_of_the_padded_image[streams]",
     "fusionzoo/train/terms.py", [
        ("label = padded(label, model.stride)", "pass"),
    ]),
    ("tests/train/test_losses.py::test_ohem_is_the_mean_of_the_hardest", "fusionzoo/train/losses.py", [
        ("losses.flatten().topk(most)", "losses.flatten().topk(most, largest=False)"),
    ]),
    ("tests/train/test_losses.py::test_parts_of_unequal_labels_add_up_to_the_batch", "fusionzoo/train/losses.py", [
        ("(self.share(label) if whole is None else whole)", "self.share(label)"),
    ]),
    ("tests/train/test_losses.py::test_two_classes_are_the_bce_and_iou_of_saliency", "fusionzoo/train/losses.py", [
        ('fraction * JaccardLoss("multiclass"', 'fraction * DiceLoss("multiclass"'),
    ]),
    ("tests/train/test_losses.py::test_nothing_labelled_is_no_loss", "fusionzoo/train/losses.py", [
        ("            return logits.sum() * 0.0", "            return logits.sum()"),
    ]),
    ("tests/train/test_losses.py::test_weights_of_frequencies", "fusionzoo/train/losses.py", [
        ("counts / counts.sum()).log()", "counts / counts.sum()).log10()"),
    ]),
    ("tests/train/test_schedule.py::test_rates_equal_torchs_schedulers", "fusionzoo/train/schedule.py", [
        ("(1 - done) ** POWER", "1 - done"), ('group.setdefault("initial_lr", group["lr"])', 'group["lr"]'),
    ]),
    ("tests/train/test_distill.py::test_logits_lose_the_divergence_at_the_temperature", "fusionzoo/train/distill.py", [
        ("temperature**2 * divergence", "temperature * divergence"),
        ("F.kl_div(mine, theirs,", "F.kl_div(theirs, mine,"),
    ]),
    ("tests/train/test_distill.py::test_features_lose_the_relative_error_on_the_students_grid",
     "fusionzoo/train/distill.py", [
        ("teacher.square().sum().clamp(min=1e-12)", "student.square().sum().clamp(min=1e-12)"),
    ]),
    ("tests/train/test_resume.py::test_stopped_in_an_epoch_it_equals_an_unbroken_run", "fusionzoo/train/epoch.py", [
        ("    run.restore_random(plan.processes)\n", ""), ("first=run.step", "first=0"),
    ]),
    ("tests/train/test_resume.py::test_lines_behind_the_state_are_not_written_twice", "fusionzoo/train/log.py", [
        ("if json.loads(line)[key] > last:", "if json.loads(line)[key] > last + 1:"),
    ]),
    ("tests/train/test_processes.py::test_processes_lose_what_one_process_loses", "fusionzoo/train/epoch.py", [
        ("(loss * processes.count).backward()", "loss.backward()"),
        ("whole = processes.sum(plan.criterion.share(batch[\"target\"]))",
         "whole = plan.criterion.share(batch[\"target\"]) * processes.count"),
    ]),
    ("tests/train/test_processes.py::test_each_image_counts_once_in_validation", "fusionzoo/train/evaluate.py", [
        ("range(processes.rank, len(data), processes.count)", "range(len(data))"),
    ]),
    ("tests/train/test_accumulate.py::test_parts_of_a_batch_are_the_batch", "fusionzoo/train/epoch.py", [
        ("plan.criterion(logits[..., : target.shape[-2], : target.shape[-1]], target, whole, fraction)",
         "plan.criterion(logits[..., : target.shape[-2], : target.shape[-1]], target, None, fraction) * fraction"),
    ]),
    ("tests/data/test_augment.py::test_holes_take_the_drawn_share_of_the_greatest", "fusionzoo/data/augment.py", [
        ("else share * most", "else most"),
    ]),
    ("tests/train/test_resume.py::test_other_images_of_the_same_names_are_refused", "fusionzoo/train/state.py", [
        ("values[PIXELS] = [int(n) for n in pixels]", "values[PIXELS] = []"),
    ]),
    ("tests/train/test_resume.py::test_a_finished_run_of_another_model_says_so_first", "fusionzoo/train/state.py", [
        ("if settings.epochs <= done and (", "if settings.epochs <= done or ("),
        ('out.glob(f".{STATE}.*.tmp")', 'out.glob(f".{STATE}.tmp")'),
    ]),
]
# fmt: on
