"""A Florence-2 of the real classes with random weights, a few thousand of them: every call path, no sense."""

from pathlib import Path
from typing import Any

SIDE_PX = 32


def make_tiny_florence(folder: Path) -> None:
    """Write model, tokenizer and picture processor to `folder`, as `from_pretrained` reads them."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    library: Any = transformers
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {word: number for number, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    fast = library.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        cls_token="<s>",
        sep_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
    )
    fast.add_tokens(["<image>"], special_tokens=True)
    words = len(fast)
    vision = {
        "depths": [1, 1],
        "patch_size": [7, 3],
        "patch_stride": [4, 2],
        "patch_padding": [3, 1],
        "patch_prenorm": [False, True],
        "embed_dim": [8, 16],
        "num_heads": [1, 2],
        "num_groups": [1, 2],
        "window_size": 4,
        "projection_dim": 16,
        "max_position_embeddings": 50,
        "drop_path_rate": 0.0,
    }
    text = {
        "model_type": "bart",
        "vocab_size": words,
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
        "max_position_embeddings": 512,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 2,
        "forced_eos_token_id": 2,
    }
    torch.manual_seed(3)
    config = library.Florence2Config(text_config=text, vision_config=vision, image_token_id=words - 1)
    model = library.Florence2ForConditionalGeneration(config)
    model.generation_config.update(bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2)
    model.save_pretrained(folder)
    pictures = library.CLIPImageProcessorPil(
        size={"height": SIDE_PX, "width": SIDE_PX},
        crop_size={"height": SIDE_PX, "width": SIDE_PX},
        do_center_crop=False,
    )
    # 32 pixels: the strides make 4 x 4 places, and one more for the mean of them.
    pictures.image_seq_length = (SIDE_PX // 8) ** 2 + 1
    library.Florence2Processor(image_processor=pictures, tokenizer=fast).save_pretrained(folder)
