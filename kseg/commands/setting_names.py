"""What is meant by the name of a setting that there is not: another program's name, another section, or a slip."""

import difflib

# By the last part of a name, what other programs call it: our key, or a sentence where there is no such setting.
_MEANT = {
    "optimizer.learning_rate": "lr base_lr init_lr initial_lr lr0 max_lr peak_lr",
    "optimizer.weight_decay": "wd decay l2 weight_regularization",
    "optimizer.warmup_steps": "warmup warmup_epochs warmup_iters",
    "optimizer.schedule": "scheduler lr_schedule lr_scheduler lr_policy lr_decay",
    "optimizer.clip_norm": "clip clipnorm grad_clip max_norm max_grad_norm gradient_clip_val global_clipnorm",
    "optimizer.ema_decay": "ema",
    "optimizer.name": "optim opt optimizer_name solver",
    "train.batch_size": "bs batch batchsize train_batch_size images_per_batch batch_per_gpu",
    "train.precision": "amp fp16 bf16 mixed_precision dtype",
    "train.accumulation_steps": "accum accum_steps accumulate accumulate_grad_batches gradient_accumulation_steps",
    "train.early_stopping_evals": "patience early_stopping",
    "train.seed": "random_seed rng_seed",
    "train.distribution": "strategy ddp distribute distributed",
    "train.checkpoint_every_steps": "save_every save_interval save_steps checkpoint_every checkpoint_interval",
    "train.jit_compile": "xla jit",
    "eval.every_steps": "eval_every eval_interval eval_steps val_every val_interval val_check_interval",
    "eval.batch_size": "eval_batch_size val_batch_size test_batch_size",
    "eval.average": "tta test_time_augmentation",
    "log.every_steps": "log_every log_interval log_steps log_every_n_steps",
    "data.records_dir": "data_dir data_path data_root dataset dataset_dir dataset_path root tfrecords tfrecord_dir",
    "data.crop_size": "crop image_size img_size imgsz input_shape resize patch_size",
    "data.calibration_fraction": "val_fraction validation_fraction validation_split holdout",
    "data.eval_split": "val_split test_split",
    "data.num_parallel_calls": "workers num_workers n_workers num_threads",
    "model.encoder": "backbone arch architecture encoder_name model_name",
    "model.encoder_weights": "pretrained weights pretrained_weights",
    "model.init_from": "checkpoint ckpt load_from finetune_from initial_weights",
    "loss.focal_gamma": "gamma focal",
    "loss.tversky_alpha": "alpha",
    "loss.tversky_beta": "beta",
    "loss.label_smoothing": "smoothing",
    "loss.top_k": "ohem topk hard_mining",
    "loss.dice_weight": "dice",
    "loss.class_weights": "class_weight",
    "augment.flip": "hflip horizontal_flip fliplr random_flip",
    "augment.rotate_degrees": "rotate rotation degrees random_rotation",
    "augment.brightness": "color_jitter colour_jitter jitter",
    "treatment.name": "treatment void_treatment",
}
_SAID = {
    "epochs num_epochs n_epochs max_epochs nepochs": 'did you mean "config.train.total_steps"? One step is '
    "one batch: epochs x images / config.train.batch_size.",
    "steps num_steps max_steps n_steps train_steps iterations iters max_iter max_iters num_iterations": "did you mean "
    '"config.train.total_steps"?',
    "gpus gpu num_gpus n_gpus ngpus devices num_devices gpu_ids device": "every GPU that is visible is used; "
    "CUDA_VISIBLE_DEVICES in the environment says which are.",
    "num_classes n_classes nclass nc classes class_names": "the classes are those of the records' label table; "
    '"config.data.seen_void_ids" makes some of them void.',
    "ignore_index ignore_label ignore_class void_label": "which ids are void, the records' label table says.",
    "resume auto_resume resume_from": "a run that is started again with the same --workdir goes on where it was.",
    "output_dir out_dir save_dir work_dir workdir log_dir model_dir": "the folder of the run is the flag --workdir.",
}


def hint(name, known) -> str:
    """A sentence about a name that is no key.

    Args:
      name: what was typed after "config.".
      known: list of all keys.
    """
    slip = difflib.get_close_matches(name, known, 1, cutoff=0.9)
    if slip:
        return f'did you mean "config.{slip[0]}"?'
    last = name.rpartition(".")[2].lower().replace("-", "_")
    for names, sentence in _SAID.items():
        if last in names.split():
            return sentence
    meant = [key for key in known if key.rpartition(".")[2] == last]
    meant = meant or [key for key, names in _MEANT.items() if last in names.split()]
    near = meant or difflib.get_close_matches(name, known, 1)
    if not near:
        return "kseg/config.py lists every key."
    return "did you mean " + " or ".join(f'"config.{key}"' for key in near) + "?"
