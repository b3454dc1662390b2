"""Short trainings of tiny models on a CPU."""

from pathlib import Path

from trl import ModelConfig, SFTConfig

from centaurlab.training.centaur import Run, prepare_run
from centaurlab.training.options import CentaurArguments, PostTrainArguments
from centaurlab.training.posttrain import PostTrainRun, prepare_posttraining


def on_cpu(output: Path, **settings: object) -> SFTConfig:
    """Four steps, of which each is logged and every second saved, tracked nowhere."""
    defaults: dict[str, object] = {
        "max_steps": 4,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_steps": 2,
        "use_cpu": True,
        "bf16": False,
        "activation_checkpointing": False,
        "disable_tqdm": True,
        "report_to": "none",
    }
    return SFTConfig(str(output), **(defaults | settings))


def lora_on(model: Path, **settings: object) -> ModelConfig:
    """LoRA on two modules a layer of a model in float32."""
    defaults = {"dtype": "float32", "use_peft": True, "lora_target_modules": ["q_proj", "v_proj"]}
    return ModelConfig(str(model), **(defaults | settings))


def start_centaur(model: Path, output: Path, arguments: CentaurArguments, **settings: object) -> Run:
    """A training on people's sessions, about to begin: LoRA on every module, batches of two."""
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    lora = lora_on(
        model,
        load_in_4bit=settings.pop("load_in_4bit", False),
        bnb_4bit_quant_type=settings.pop("bnb_4bit_quant_type", "nf4"),
        lora_r=4,
        lora_alpha=4,
        lora_dropout=0.0,
        lora_target_modules=modules,
    )
    batches = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "per_device_eval_batch_size": 2}
    return prepare_run(arguments, on_cpu(output, **(batches | {"seed": 3} | settings)), lora)


def start_posttraining(model: Path, output: Path, *, peft: bool = True, **options: object) -> PostTrainRun:
    """A post-training on twelve conversations, about to begin; ``options`` of what is post-trained or of training."""
    names = {f: options.pop(f) for f in list(options) if f in PostTrainArguments.__dataclass_fields__}
    lora = lora_on(model, use_peft=peft, load_in_4bit=options.pop("load_in_4bit", False))
    batches = {"per_device_train_batch_size": 2, "max_length": 256}
    return prepare_posttraining(
        PostTrainArguments(**({"max_examples": 12} | names)),
        on_cpu(output, **(batches | options)),
        lora,
    )
