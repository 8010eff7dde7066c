"""What the files of a checkpoint say, read without torch: type, weights, quantisation, tokenizer,
ends, and what is none."""
